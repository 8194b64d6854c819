import { useQuery } from '@tanstack/react-query';
import { ArrowUp, Pause, Play, Radio } from 'lucide-react';
import { memo, useMemo, useRef, useState, type CSSProperties } from 'react';

import type { Activity } from '@/api/client';
import { activitiesQuery } from '@/api/queries';
import { clockTime, longDay, plural } from '@/format/format';
import { useLive } from '@/live/context';
import { merge } from '@/live/state';
import { Button } from '@/ui/Button';
import { Card, CardHeader } from '@/ui/Card';
import { Empty, Failed } from '@/ui/Notice';
import { Skeleton } from '@/ui/Skeleton';

import { tell } from './activityWords';

/** How many rows are drawn; the list is for glancing, not for searching. */
const DRAWN = 100;

/** What just happened, newest first. It stands still while paused or scrolled, and says how much is new. */
export function LiveFeed() {
  const { data, error, refetch } = useQuery(activitiesQuery);
  const { arrived } = useLive();
  const [held, setHeld] = useState<readonly Activity[] | null>(null);
  const [paused, setPaused] = useState(false);
  const scroller = useRef<HTMLDivElement>(null);

  const current = useMemo(() => (data ? merge(arrived, data.items) : undefined), [arrived, data]);
  const first = useFirst(current);
  // Paused while the first page was still on its way: it stands still from there.
  if (paused && held === null && current !== undefined) setHeld(current);
  const shown = held ?? current;
  const fresh = held && current ? countFresh(current, held) : 0;

  const hold = () => setHeld((before) => before ?? current ?? null);
  const release = () => {
    setHeld(null);
    scroller.current?.scrollTo({ top: 0 });
  };

  return (
    <Card aria-labelledby="feed" className="flex min-h-0 flex-col overflow-hidden">
      <CardHeader id="feed" title="Just happened">
        <Button
          size="sm"
          look="quiet"
          aria-pressed={paused}
          onClick={() => {
            if (paused) release();
            else hold();
            setPaused(!paused);
          }}
        >
          {paused ? <Play aria-hidden /> : <Pause aria-hidden />}
          {paused ? 'Resume' : 'Pause'}
        </Button>
      </CardHeader>
      <div className="relative flex min-h-0 flex-1 flex-col border-t border-line">
        {fresh > 0 && (
          <Button
            size="sm"
            look="primary"
            className="absolute top-2 left-1/2 z-10 -translate-x-1/2 animate-rise rounded-full shadow-float"
            onClick={() => {
              setPaused(false);
              release();
            }}
          >
            <ArrowUp aria-hidden /> {plural(fresh, 'new', 'new')}
          </Button>
        )}
        <div
          ref={scroller}
          tabIndex={0}
          role="region"
          aria-label="What just happened"
          className="min-h-0 flex-1 overflow-y-auto [overflow-anchor:none] focus-visible:-outline-offset-2"
          onScroll={(event) => {
            if (event.currentTarget.scrollTop > 24) hold();
            else if (!paused) setHeld(null);
          }}
        >
          {error && !shown ? (
            <Failed error={error} retry={() => void refetch()} />
          ) : shown === undefined ? (
            <Loading />
          ) : shown.length === 0 ? (
            <Empty icon={Radio} title="Quiet so far">
              Every send, open, click and reply shows here the moment it happens.
            </Empty>
          ) : (
            <Rows items={shown} settled={first} />
          )}
        </div>
      </div>
    </Card>
  );
}

/** The ids of the first page read: those do not announce themselves as new. */
function useFirst(items: readonly Activity[] | undefined): ReadonlySet<string> | undefined {
  const [first, setFirst] = useState<ReadonlySet<string>>();
  if (first === undefined && items !== undefined) setFirst(new Set(items.map((item) => item.id)));
  return first;
}

function countFresh(current: readonly Activity[], held: readonly Activity[]): number {
  const seen = new Set(held.map((item) => item.id));
  const newest = held[0]?.at ?? '';
  return current.filter((item) => !seen.has(item.id) && item.at >= newest).length;
}

function Rows({ items, settled }: { items: readonly Activity[]; settled: ReadonlySet<string> | undefined }) {
  const days: { day: string; items: Activity[] }[] = [];
  for (const item of items.slice(0, DRAWN)) {
    const day = longDay(new Date(item.at));
    const last = days.at(-1);
    if (last?.day === day) last.items.push(item);
    else days.push({ day, items: [item] });
  }
  return days.map(({ day, items: ofDay }) => (
    <section key={day} aria-label={day}>
      <h3 className="sticky top-0 z-1 border-b border-line bg-sunken px-4 py-1 text-2xs font-medium text-ink-2">
        {day}
      </h3>
      <ol>
        {ofDay.map((item) => (
          <Row key={item.id} activity={item} fresh={settled?.has(item.id) === false} />
        ))}
      </ol>
    </section>
  ));
}

const Row = memo(function Row({ activity, fresh }: { activity: Activity; fresh: boolean }) {
  const { icon: Icon, tone, does, what } = tell(activity);
  const at = new Date(activity.at);
  return (
    <li
      data-testid="activity"
      data-kind={activity.kind}
      className={`flex gap-2.5 border-b border-line px-4 py-2 text-sm last:border-0 ${fresh ? 'animate-arrive' : ''}`}
    >
      <span
        aria-hidden
        className="mt-px grid size-5.5 shrink-0 place-items-center rounded-full bg-[color-mix(in_oklab,var(--tone)_14%,transparent)] text-(--tone)"
        style={{ '--tone': `var(--${tone})` } as CSSProperties}
      >
        <Icon className="size-3" strokeWidth={2.25} />
      </span>
      <p className="min-w-0 flex-1 leading-snug wrap-anywhere">
        <span className="font-medium">{activity.lead_name ?? 'A lead'}</span>{' '}
        <span className="text-ink-2">{does}</span>
        {what !== null && <span className="block truncate text-xs text-ink-3">{what}</span>}
      </p>
      <time dateTime={activity.at} className="shrink-0 text-xs leading-snug text-ink-3 tabular">
        {clockTime(at)}
      </time>
    </li>
  );
});

function Loading() {
  return (
    <div aria-busy>
      {Array.from({ length: 12 }, (_, at) => (
        <div key={at} className="flex gap-2.5 border-b border-line px-4 py-3">
          <Skeleton className="size-5.5 rounded-full" />
          <div className="grid flex-1 gap-2">
            <Skeleton className="w-3/5" />
            <Skeleton className="h-2.5 w-2/5" />
          </div>
        </div>
      ))}
    </div>
  );
}
