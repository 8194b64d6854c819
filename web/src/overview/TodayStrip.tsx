import { LinePath } from '@visx/shape';
import { curveMonotoneX } from '@visx/curve';

import type { Overview, TimeseriesPoint } from '@/api/client';
import { count, percent } from '@/format/format';
import { Card } from '@/ui/Card';
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
    <Card aria-labelledby="today" className="overflow-hidden">
      <h2 id="today" className="sr-only">
        Today
      </h2>
      <dl
        aria-busy={overview === undefined}
        className="-mr-px -mb-px grid grid-cols-2 sm:grid-cols-4 xl:grid-cols-7"
      >
        {FIGURES.map(({ key, label, colour, rate, series }, at) => (
          <div
            key={key}
            data-testid={`today-${key}`}
            className={cx(
              'relative grid h-26 content-start border-r border-b border-line px-4 pt-3',
              at === 0 && 'max-sm:col-span-2 sm:max-xl:col-span-2',
            )}
          >
            <dt className="flex items-center gap-1.5 eyebrow">
              <span aria-hidden className="size-1.5 rounded-full" style={{ background: colour }} />
              {label}
            </dt>
            <dd className="mt-1 flex items-baseline gap-2">
              {overview === undefined ? (
                <Skeleton className="my-1.5 h-5 w-14" />
              ) : (
                <>
                  <span className="text-2xl font-semibold tracking-[-0.02em] tabular">
                    {count(overview.today[key])}
                  </span>
                  {rate !== undefined && (
                    <span className="text-xs text-ink-3 tabular">
                      {percent(overview.rates[rate])}
                      <span className="sr-only"> of all sent</span>
                    </span>
                  )}
                </>
              )}
            </dd>
            {hours && series && <Spark values={hours.map((hour) => hour[series])} colour={colour} />}
          </div>
        ))}
      </dl>
    </Card>
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
      className="absolute inset-x-4 bottom-2.5 h-6 w-[calc(100%-2rem)] overflow-visible"
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
