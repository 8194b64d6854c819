import { lagWords } from '@/format/format';
import { useLive } from '@/live/context';
import { cx } from '@/ui/cx';
import { Tip } from '@/ui/Tip';

/** Whether the page moves by itself, and how far it trails what has happened. */
export function LiveIndicator({ className }: { className?: string }) {
  const { connection, lagSeconds } = useLive();
  const late = lagSeconds !== null && lagSeconds >= 1.5;
  const [text, dot, explanation] =
    connection === 'live'
      ? ([
          lagWords(lagSeconds ?? 0),
          late ? 'bg-unsubscribed' : 'bg-replied',
          late
            ? 'Connected, but the figures trail what has happened. They catch up by themselves.'
            : 'Connected. What happens shows here within a second.',
        ] as const)
      : connection === 'connecting'
        ? (['Connecting', 'bg-ink-3 animate-beat', 'Opening the live connection.'] as const)
        : ([
            'Reconnecting',
            'bg-bounced animate-beat',
            'The live connection is away. The figures are as they were; the page comes back by itself.',
          ] as const);
  return (
    <Tip text={explanation}>
      <button
        type="button"
        data-testid="live-indicator"
        data-connection={connection}
        className={cx(
          'inline-flex h-7 cursor-default items-center gap-2 rounded-full px-2.5 text-xs font-medium text-ink-2 hover:bg-sunken',
          className,
        )}
      >
        <span aria-hidden className={cx('size-2 rounded-full', dot)} />
        <span role="status">{text}</span>
      </button>
    </Tip>
  );
}
