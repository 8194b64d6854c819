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
