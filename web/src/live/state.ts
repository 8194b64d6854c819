import type { Activity } from '@/api/client';

import { furthest, isAhead, readCursor, START, type Cursor, type WireCursor } from './cursor';

/** The live state of the page, as a pure fold over what the connection reports. */

export type Connection = 'connecting' | 'live' | 'away';

export interface LiveState {
  connection: Connection;
  /** Seconds by which the views trail the log; null until the server has said. */
  lagSeconds: number | null;
  cursor: Cursor;
  /** Pushed since the page opened, newest first. */
  arrived: readonly Activity[];
  /** Counts up whenever everything shown must be read again. */
  epoch: number;
}

export type LiveReport =
  | { type: 'connecting' }
  | { type: 'subscribed'; cursor: WireCursor }
  | { type: 'lost' }
  | { type: 'activities'; items: readonly Activity[] }
  | { type: 'changed'; cursor: WireCursor }
  | { type: 'lag'; cursor: WireCursor; seconds: number }
  | { type: 'resync' };

/** More than anyone scrolls back; older ones are on the lead's and the sequence's pages. */
export const KEPT = 200;

export const INITIAL: LiveState = {
  connection: 'connecting',
  lagSeconds: null,
  cursor: START,
  arrived: [],
  epoch: 0,
};

export function reduce(state: LiveState, report: LiveReport): LiveState {
  switch (report.type) {
    case 'connecting':
      return state.connection === 'connecting' ? state : { ...state, connection: 'connecting' };
    case 'lost':
      return { ...state, connection: 'away', lagSeconds: null };
    case 'subscribed': {
      // Pushes sent while the line was down are gone, so the page reads everything again.
      const cursor = furthest(state.cursor, readCursor(report.cursor));
      return { ...state, connection: 'live', cursor, epoch: state.epoch + 1 };
    }
    case 'changed':
      return { ...state, cursor: furthest(state.cursor, readCursor(report.cursor)) };
    case 'lag': {
      const theirs = readCursor(report.cursor);
      const behind = isAhead(theirs, state.cursor);
      return {
        ...state,
        lagSeconds: report.seconds,
        cursor: furthest(state.cursor, theirs),
        epoch: behind ? state.epoch + 1 : state.epoch,
      };
    }
    case 'resync':
      return { ...state, epoch: state.epoch + 1 };
    case 'activities': {
      const arrived = merge(report.items, state.arrived);
      return arrived === state.arrived ? state : { ...state, arrived };
    }
  }
}

/** Both lists as one, newest first, each activity once, at most `KEPT`. Answers `known` itself when `fresh` adds nothing. */
export function merge(fresh: readonly Activity[], known: readonly Activity[]): readonly Activity[] {
  const seen = new Set(known.map((item) => item.id));
  const added = fresh.filter((item) => !seen.has(item.id) && seen.add(item.id));
  if (added.length === 0) return known;
  return [...added, ...known]
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || Number(b.id) - Number(a.id))
    .slice(0, KEPT);
}

/** Puts pushed documents in the place of those a list already shows; a list never grows by a push. */
export function patch<T extends { id: string }>(
  items: readonly T[],
  documents: readonly { id: string }[],
): readonly T[] {
  const byId = new Map(documents.map((document) => [document.id, document]));
  if (!items.some((item) => byId.has(item.id))) return items;
  return items.map((item) => ({ ...item, ...byId.get(item.id) }));
}
