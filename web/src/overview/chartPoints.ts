import type { TimeseriesPoint } from '@/api/client';

/** A point per bucket from the first to the last moment given, with zeros where the answer has none. */
export function filled(
  points: readonly TimeseriesPoint[],
  stepMs: number,
  count: number,
  end: number,
): TimeseriesPoint[] {
  const byBucket = new Map(points.map((point) => [Math.floor(Date.parse(point.at) / stepMs), point]));
  const last = Math.floor((end - 1) / stepMs);
  return Array.from({ length: count }, (_, at) => {
    const bucket = last - (count - 1 - at);
    return byBucket.get(bucket) ?? nothing(new Date(bucket * stepMs).toISOString());
  });
}

function nothing(at: string): TimeseriesPoint {
  return {
    at,
    sent: 0,
    opened: 0,
    clicked: 0,
    replied: 0,
    bounced: 0,
    unsubscribed: 0,
    enrolled: 0,
    completed: 0,
  };
}

/** The top of an axis over `value`, and its lines: at most five, on round numbers, at least one unit apart. */
export function axis(value: number): { top: number; lines: number[] } {
  const largest = Math.max(value, 4);
  const rough = largest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(
    1,
    [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? power,
  );
  const whole = Number.isInteger(step) ? step : Math.ceil(step);
  const lines: number[] = [];
  for (let line = 0; line < largest + whole && lines.length < 6; line += whole) lines.push(line);
  return { top: lines.at(-1) ?? largest, lines };
}
