/** Headers as pairs in their order, whether they came as pairs or as an object of one or several values a name. */
export function headerPairs(headers: unknown): readonly (readonly [string, string])[] {
  if (typeof headers !== 'object' || headers === null) return [];
  const entries: [unknown, unknown][] = Array.isArray(headers)
    ? headers.filter((pair): pair is [unknown, unknown] => Array.isArray(pair) && pair.length >= 2)
    : Object.entries(headers);
  return entries.flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [String(name), String(one)] as const),
  );
}
