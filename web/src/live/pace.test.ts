import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Pace } from './pace';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function recorded(): { acts: string[]; pace: Pace } {
  const acts: string[] = [];
  const act = (key: string) => {
    acts.push(key);
    return Promise.resolve();
  };
  return { acts, pace: new Pace(act, 500) };
}

describe('Pace', () => {
  it('acts at once, then at most once a gap, and never misses the last', async () => {
    const { acts, pace } = recorded();
    for (let call = 0; call < 100; call += 1) pace.ask('overview');
    expect(acts).toEqual(['overview']);
    await vi.advanceTimersByTimeAsync(500);
    expect(acts).toEqual(['overview', 'overview']);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(acts).toHaveLength(2);
  });

  it('paces each key by itself', () => {
    const { acts, pace } = recorded();
    pace.ask('a');
    pace.ask('b');
    expect(acts).toEqual(['a', 'b']);
  });

  it('keeps to two a second under a steady stream', async () => {
    const { acts, pace } = recorded();
    for (let ms = 0; ms < 10_000; ms += 10) {
      pace.ask('a');
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(acts.length).toBeLessThanOrEqual(21);
    expect(acts.length).toBeGreaterThanOrEqual(19);
  });

  it('waits for a slow act, then runs what was asked meanwhile', async () => {
    const acts: number[] = [];
    const slow = new Pace(async () => {
      acts.push(Date.now());
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    }, 500);
    slow.ask('a');
    await vi.advanceTimersByTimeAsync(1_000);
    slow.ask('a');
    expect(acts).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(acts).toHaveLength(2);
  });

  it('goes on after an act that failed', async () => {
    let calls = 0;
    const pace = new Pace(() => {
      calls += 1;
      return Promise.reject(new Error('away'));
    }, 500);
    pace.ask('a');
    pace.ask('a');
    await vi.advanceTimersByTimeAsync(500);
    expect(calls).toBe(2);
  });

  it('does nothing more once stopped', async () => {
    const { acts, pace } = recorded();
    pace.ask('a');
    pace.ask('a');
    pace.stop();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(acts).toEqual(['a']);
  });
});
