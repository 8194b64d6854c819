/**
 * How far something has got: the last position seen of each partition. On the wire a cursor is one change
 * (`"03-1204"`) or, for a room of many partitions, the positions in partition order.
 */

export type Cursor = readonly number[];
export type WireCursor = string | readonly number[] | null | undefined;

export const START: Cursor = [];

/** Raises nothing: what cannot be read counts as nothing seen. */
export function readCursor(wire: WireCursor): Cursor {
  if (wire === null || wire === undefined) return START;
  if (typeof wire !== 'string') return wire;
  const [, partitionDigits, positionDigits] = /^(\d{1,3})-(\d+)$/.exec(wire) ?? [];
  if (partitionDigits === undefined) return START;
  const [partition, position] = [Number(partitionDigits), Number(positionDigits)];
  return Array.from({ length: partition + 1 }, (_, at) => (at === partition ? position : 0));
}

/** The further of both, partition by partition. Answers `a` itself when `b` adds nothing. */
export function furthest(a: Cursor, b: Cursor): Cursor {
  if (!isAhead(b, a)) return a;
  return Array.from({ length: Math.max(a.length, b.length) }, (_, at) => Math.max(a[at] ?? 0, b[at] ?? 0));
}

/** Whether `a` has seen something that `b` has not. */
export function isAhead(a: Cursor, b: Cursor): boolean {
  return a.some((position, at) => position > (b[at] ?? 0));
}
