import { LinePath } from '@visx/shape';
import { curveMonotoneX } from '@visx/curve';

import type { Overview, TimeseriesPoint } from '@/api/client';
import { percent, shortCount } from '@/format/format';
import { CARD } from '@/ui/Card';
import { cx } from '@/ui/cx';
import { Skeleton } from '@/ui/Skeleton';

type TodayKey = keyof Overview['today'];
type RateKey = keyof Overview['rates'];

const FIGURES: readonly {
  key: TodayKey;
  label: string;
  colour: string;
  rate?: RateKey;
  series?: keyof Omit<TimeseriesPoint, 'at'>;
}[] = [
  { key: 'sent', label: 'Sent', colour: 'var(--sent)', series: 'sent' },
  { key: 'opened', label: 'Opened', colour: 'var(--opened)', rate: 'open', series: 'opened' },
  { key: 'clicked', label: 'Clicked', colour: 'var(--clicked)', rate: 'click', series: 'clicked' },
  { key: 'replied', label: 'Replied', colour: 'var(--replied)', rate: 'reply', series: 'replied' },
  { key: 'bounced', label: 'Bounced', colour: 'var(--bounced)', rate: 'bounce', series: 'bounced' },
  {
    key: 'unsubscribed',
    label: 'Unsubscribed',
    colour: 'var(--unsubscribed)',
    rate: 'unsubscribe',
    series: 'unsubscribed',
  },
  { key: 'meetings', label: 'Meetings', colour: 'var(--replied)' },
  { key: 'enrolled', label: 'Enrolled', colour: 'var(--enrolled)', series: 'enrolled' },
];

/** Today's figures, each with its last day hour by hour and its rate over all time. */
export function TodayStrip({
  overview,
  hours,
}: {
  overview: Overview | undefined;
  hours: readonly TimeseriesPoint[] | undefined;
}) {
  return (
    <section aria-labelledby="today">
      <div className="mb-1.5 flex items-baseline justify-between text-xs text-ink-3">
        <h2 id="today" className="text-sm font-medium text-ink-2">
          Today
        </h2>
        <p>Lines: the last 24 hours</p>
      </div>
      <div className={cx(CARD, 'overflow-hidden')}>
        <dl
          aria-busy={overview === undefined}
          className="-mr-px -mb-px grid grid-cols-2 sm:grid-cols-4 desk:grid-cols-8"
        >
          {FIGURES.map(({ key, label, colour, rate, series }) => (
            <div
              key={key}
              data-testid={`today-${key}`}
              className="relative h-25 border-r border-b border-line px-3.5 pt-3"
            >
              <dt className="flex items-center gap-1.5 eyebrow">
                <span aria-hidden className="size-1.5 rounded-full" style={{ background: colour }} />
                {label}
              </dt>
              <dd className="mt-0.5 flex items-center justify-between gap-2">
                {overview === undefined ? (
                  <Skeleton className="my-2 h-4.5 w-14" />
                ) : (
                  <>
                    <span className="text-2xl font-semibold tracking-[-0.022em] tabular" data-value>
                      {shortCount(overview.today[key])}
                    </span>
                    {rate !== undefined && (
                      <span className="text-right text-2xs leading-3 text-ink-3 tabular">
                        <span className="block font-medium text-ink-2">{percent(overview.rates[rate])}</span>
                        overall
                      </span>
                    )}
                  </>
                )}
              </dd>
              {hours && series && <Spark values={hours.map((hour) => hour[series])} colour={colour} />}
            </div>
          ))}
        </dl>
      </div>
    </section>
  );
}

const WIDTH = 120;
const HEIGHT = 24;

function Spark({ values, colour }: { values: readonly number[]; colour: string }) {
  const top = Math.max(1, ...values);
  const x = (_: number, at: number) => (at / Math.max(1, values.length - 1)) * WIDTH;
  const y = (value: number) => HEIGHT - 1.5 - (value / top) * (HEIGHT - 4);
  return (
    <svg
      aria-hidden
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      className="absolute inset-x-3.5 bottom-2 h-6 w-[calc(100%-1.75rem)] overflow-visible"
    >
      <LinePath
        data={[...values]}
        x={x}
        y={y}
        curve={curveMonotoneX}
        stroke={colour}
        strokeWidth={1.5}
        strokeLinecap="round"
        vectorEffect="non-scaling-stroke"
        opacity={0.85}
      />
    </svg>
  );
}
