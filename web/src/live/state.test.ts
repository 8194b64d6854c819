import { describe, expect, it } from 'vitest';

import type { Activity } from '@/api/client';

import { furthest, isAhead, readCursor } from './cursor';
import { INITIAL, KEPT, merge, patch, reduce, type LiveReport, type LiveState } from './state';

function activity(id: string, at: string): Activity {
  return {
    id,
    at,
    kind: 'enrollment.step_sent',
    lead_id: null,
    lead_name: null,
    enrollment_id: null,
    sequence_id: null,
    sequence_name: null,
    step_id: null,
    step_name: null,
    actor: null,
    group: 'messages',
    title: '',
    outcome: null,
    duration_seconds: null,
    detail: {},
    position: 1,
  };
}

const after = (...reports: LiveReport[]): LiveState => reports.reduce(reduce, INITIAL);

describe('cursor', () => {
  it('reads both forms', () => {
    expect(readCursor('02-17')).toEqual([0, 0, 17]);
    expect(readCursor([3, 0, 5])).toEqual([3, 0, 5]);
  });
  it.each([null, undefined, '', 'nonsense', '02', '-1-5'])('takes %s for nothing seen', (wire) =>
    expect(isAhead(readCursor(wire), [])).toBe(false),
  );
  it('compares and joins partition by partition', () => {
    expect(isAhead([1, 9], [2, 8])).toBe(true);
    expect(isAhead([1, 8], [2, 8])).toBe(false);
    expect(furthest([1, 9], [2, 8, 4])).toEqual([2, 9, 4]);
  });
  it('stays the same object when nothing was added', () => {
    const seen = [4, 4];
    expect(furthest(seen, [3, 4])).toBe(seen);
  });
});

describe('connection', () => {
  it('is live once subscribed, and reads everything again', () => {
    const state = after({ type: 'subscribed', cursor: [5] });
    expect(state.connection).toBe('live');
    expect(state.epoch).toBe(1);
  });
  it('is away when lost and forgets the lag', () => {
    const state = after(
      { type: 'subscribed', cursor: [5] },
      { type: 'lag', cursor: [5], seconds: 1 },
      { type: 'lost' },
    );
    expect(state.connection).toBe('away');
    expect(state.lagSeconds).toBeNull();
  });
});

describe('lag', () => {
  const live = after({ type: 'subscribed', cursor: [5, 5] });
  it('at what was seen changes nothing but the seconds', () => {
    const state = reduce(live, { type: 'lag', cursor: [5, 5], seconds: 0.4 });
    expect(state.epoch).toBe(live.epoch);
    expect(state.lagSeconds).toBe(0.4);
  });
  it('ahead of what was seen reads everything again, once', () => {
    const report: LiveReport = { type: 'lag', cursor: [5, 6], seconds: 0.4 };
    const state = reduce(live, report);
    expect(state.epoch).toBe(live.epoch + 1);
    expect(reduce(state, report).epoch).toBe(state.epoch);
  });
  it('is not ahead of a change already announced', () => {
    const told = reduce(live, { type: 'changed', cursor: '01-6' });
    expect(reduce(told, { type: 'lag', cursor: [5, 6], seconds: 0 }).epoch).toBe(live.epoch);
  });
});

describe('activities', () => {
  const old = activity('a', '2026-11-24T10:00:00Z');
  const young = activity('b', '2026-11-24T11:00:00Z');
  it('are kept newest first whatever order they come in', () => {
    expect(merge([old], [young]).map((item) => item.id)).toEqual(['b', 'a']);
  });
  it('are kept once', () => {
    const known = [young, old];
    expect(merge([old, young], known)).toBe(known);
    expect(merge([old, old], [])).toHaveLength(1);
  });
  it('are capped', () => {
    const many = Array.from({ length: KEPT + 50 }, (_, at) => activity(String(at), young.at));
    expect(merge(many, [])).toHaveLength(KEPT);
  });
  it('leave the state alone when nothing is new', () => {
    const state = after({ type: 'activities', items: [old] });
    expect(reduce(state, { type: 'activities', items: [old] })).toBe(state);
  });
});

describe('patch', () => {
  const items = [
    { id: '1', status: 'active' },
    { id: '2', status: 'active' },
  ];
  it('replaces what is shown and adds nothing', () => {
    const documents = [
      { id: '2', status: 'paused' },
      { id: '3', status: 'active' },
    ];
    expect(patch(items, documents)).toEqual([items[0], { id: '2', status: 'paused' }]);
  });
  it('is the same list when nothing shown changed', () => expect(patch(items, [{ id: '9' }])).toBe(items));
});
