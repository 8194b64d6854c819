import { useQuery } from '@tanstack/react-query';
import { curveMonotoneX } from '@visx/curve';
import { useParentSize } from '@visx/responsive';
import { scaleLinear } from '@visx/scale';
import { AreaClosed, LinePath } from '@visx/shape';
import { useState, type KeyboardEvent, type PointerEvent } from 'react';

import type { TimeseriesPoint } from '@/api/client';
import { RANGES, timeseriesQuery, type Range } from '@/api/queries';
import type { BusinessClock } from '@/app/clock';
import { clockTime, count, dayOfMonth, moment, shortCount, shortDay } from '@/format/format';
import { Card, CardHeader } from '@/ui/Card';
import { cx } from '@/ui/cx';
import { Failed } from '@/ui/Notice';
import { Segmented } from '@/ui/Segmented';
import { Skeleton } from '@/ui/Skeleton';

import { axis } from './axis';
import { MEASURES, type Measure } from './measures';

const RANGE_OPTIONS = (Object.keys(RANGES) as Range[]).map((value) => ({
  value,
  label: RANGES[value].label,
}));

/** What was sent and what came back, hour by hour or day by day. */
export function ActivityChart({ clock }: { clock: BusinessClock }) {
  const [range, setRange] = useState<Range>('24h');
  const [hidden, setHidden] = useState<ReadonlySet<Measure>>(new Set());
  const { data, error, refetch } = useQuery({ ...timeseriesQuery(range, clock), enabled: clock.known });
  const points = data?.items;

  const toggle = (key: Measure) =>
    setHidden((before) => {
      const after = new Set(before);
      if (!after.delete(key)) after.add(key);
      return after;
    });

  return (
    <Card aria-labelledby="activity" className="flex flex-col">
      <CardHeader id="activity" title="Sends and responses">
        <Segmented label="Range" value={range} options={RANGE_OPTIONS} onChange={setRange} />
      </CardHeader>
      <ul aria-label="Measures shown" className="flex flex-wrap gap-y-0.5 px-2.5">
        {MEASURES.map(({ key, label, colour }) => (
          <li key={key}>
            <button
              type="button"
              aria-pressed={!hidden.has(key)}
              onClick={() => toggle(key)}
              className="inline-flex h-6 items-center gap-1.5 rounded-md px-1.5 text-xs text-ink-2 hover:bg-sunken aria-[pressed=false]:text-ink-3 aria-[pressed=false]:line-through"
            >
              <span
                aria-hidden
                className={cx('size-2 rounded-full', hidden.has(key) && 'opacity-30')}
                style={{ background: colour }}
              />
              {label}
            </button>
          </li>
        ))}
      </ul>
      <div className="h-76 px-4 pt-2 pb-3">
        {error && !points ? (
          <Failed error={error} retry={() => void refetch()} className="h-full py-0" />
        ) : points ? (
          <Plot points={points} range={range} hidden={hidden} />
        ) : (
          <div aria-busy className="flex h-full items-end gap-2 pb-6">
            {Array.from({ length: 24 }, (_, at) => (
              <Skeleton key={at} className={cx('flex-1', ['h-1/4', 'h-2/5', 'h-1/2', 'h-1/3'][at % 4])} />
            ))}
          </div>
        )}
      </div>
    </Card>
  );
}

/** A day is named by its noon: its midnight may be another day's in the reader's zone. */
function noonOf(day: TimeseriesPoint): Date {
  return new Date(Date.parse(day.at) + 12 * 3_600_000);
}

const LEFT = 38;
const TOP = 8;
const BOTTOM = 24;

function Plot({
  points,
  range,
  hidden,
}: {
  points: readonly TimeseriesPoint[];
  range: Range;
  hidden: ReadonlySet<Measure>;
}) {
  const { parentRef, width, height } = useParentSize({ debounceTime: 60 });
  const [chosen, setChosen] = useState<number | null>(null);
  const shown = MEASURES.filter(({ key }) => !hidden.has(key));
  const largest = Math.max(0, ...points.flatMap((point) => shown.map(({ key }) => point[key])));
  const { top, lines } = axis(largest);
  const x = scaleLinear({ domain: [0, points.length - 1], range: [LEFT, Math.max(LEFT, width - 6)] });
  const y = scaleLinear({ domain: [0, top], range: [height - BOTTOM, TOP] });
  const hourly = RANGES[range].bucket === 'hour';
  const label = (point: TimeseriesPoint) =>
    hourly ? clockTime(new Date(point.at)) : dayOfMonth(noonOf(point));
  const when = (point: TimeseriesPoint) => (hourly ? moment(new Date(point.at)) : shortDay(noonOf(point)));
  const every = Math.max(1, Math.ceil(points.length / Math.max(2, Math.floor((width - LEFT) / 68))));
  const choose = (at: number) => setChosen(Math.min(points.length - 1, Math.max(0, at)));

  const point = (event: PointerEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    choose(Math.round(x.invert(event.clientX - box.left)));
  };
  const key = (event: KeyboardEvent) => {
    const from = chosen ?? points.length - 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: points.length - 1 }[event.key];
    if (event.key === 'Escape') setChosen(null);
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  };

  const read = chosen === null ? undefined : points[chosen];
  const readout =
    read === undefined
      ? `${points.length} points. Use the arrow keys to read them.`
      : `${when(read)}: ${shown.map(({ key: measure, label: name }) => `${name} ${read[measure]}`).join(', ')}`;

  return (
    <div ref={parentRef} className="relative h-full min-w-0">
      {width > 0 && (
        <svg
          width={width}
          height={height}
          role="slider"
          tabIndex={0}
          aria-label="Sends and responses over time"
          aria-valuemin={0}
          aria-valuemax={points.length - 1}
          aria-valuenow={chosen ?? points.length - 1}
          aria-valuetext={readout}
          onPointerMove={point}
          onPointerLeave={() => setChosen(null)}
          onKeyDown={key}
          onBlur={() => setChosen(null)}
          className="block touch-pan-y rounded"
        >
          {lines.map((line) => (
            <g key={line}>
              <line
                x1={LEFT}
                x2={width}
                y1={y(line)}
                y2={y(line)}
                stroke="var(--line)"
                strokeDasharray={line === 0 ? undefined : '2 4'}
              />
              <text
                x={LEFT - 8}
                y={y(line)}
                dy="0.32em"
                textAnchor="end"
                className="fill-ink-3 text-2xs tabular"
              >
                {shortCount(line)}
              </text>
            </g>
          ))}
          {points.map((at, index) =>
            (points.length - 1 - index) % every === 0 ? (
              <text
                key={at.at}
                x={x(index)}
                y={height - 5}
                textAnchor={index === points.length - 1 ? 'end' : 'middle'}
                className="fill-ink-3 text-2xs tabular"
              >
                {label(at)}
              </text>
            ) : null,
          )}
          {shown.some(({ key: measure }) => measure === 'sent') && (
            <AreaClosed
              data={[...points]}
              x={(_, at) => x(at)}
              y={(at) => y(at.sent)}
              yScale={y}
              curve={curveMonotoneX}
              fill="var(--sent)"
              opacity={0.12}
            />
          )}
          {shown.map(({ key: measure, colour }) => (
            <LinePath
              key={measure}
              data={[...points]}
              x={(_, at) => x(at)}
              y={(at) => y(at[measure])}
              curve={curveMonotoneX}
              stroke={colour}
              strokeWidth={1.75}
              strokeLinecap="round"
            />
          ))}
          {chosen !== null && read && (
            <g>
              <line x1={x(chosen)} x2={x(chosen)} y1={TOP} y2={height - BOTTOM} stroke="var(--line-strong)" />
              {shown.map(({ key: measure, colour }) => (
                <circle
                  key={measure}
                  cx={x(chosen)}
                  cy={y(read[measure])}
                  r={3.5}
                  fill={colour}
                  stroke="var(--surface)"
                  strokeWidth={2}
                />
              ))}
            </g>
          )}
        </svg>
      )}
      {chosen !== null && read && (
        <div
          aria-hidden
          className="pointer-events-none absolute top-1 z-10 min-w-40 rounded-lg bg-raised px-3 py-2 text-xs shadow-float"
          style={x(chosen) > width / 2 ? { right: width - x(chosen) + 12 } : { left: x(chosen) + 12 }}
        >
          <p className="mb-1 font-medium">{when(read)}</p>
          {shown.map(({ key: measure, label: name, colour }) => (
            <p key={measure} className="flex items-center gap-2 text-ink-2">
              <span className="size-1.5 rounded-full" style={{ background: colour }} />
              {name}
              <span className="ml-auto pl-4 font-medium text-ink tabular">{count(read[measure])}</span>
            </p>
          ))}
        </div>
      )}
    </div>
  );
}
