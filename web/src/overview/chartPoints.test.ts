import { describe, expect, it } from 'vitest';

import { axis, filled } from './chartPoints';

const HOUR = 3_600_000;

describe('filled', () => {
  const point = {
    at: '2026-11-24T10:00:00Z',
    sent: 3,
    opened: 1,
    clicked: 0,
    replied: 0,
    bounced: 0,
    unsubscribed: 0,
    enrolled: 0,
    completed: 0,
  };
  it('has every bucket once, oldest first, ending before the end', () => {
    const points = filled([point], HOUR, 4, Date.parse('2026-11-24T12:00:00Z'));
    expect(points.map((at) => at.at.slice(11, 13))).toEqual(['08', '09', '10', '11']);
    expect(points.map((at) => at.sent)).toEqual([0, 0, 3, 0]);
  });
  it('leaves out what lies outside', () => {
    expect(filled([point], HOUR, 2, Date.parse('2026-11-24T09:00:00Z')).every((at) => at.sent === 0)).toBe(
      true,
    );
  });
});

describe('axis', () => {
  it.each([0, 1, 3, 7, 10, 42, 99, 100, 101, 1234, 98_765])(
    'reaches over %s on few whole lines',
    (largest) => {
      const { top, lines } = axis(largest);
      expect(top).toBeGreaterThanOrEqual(largest);
      expect(lines.length).toBeGreaterThanOrEqual(2);
      expect(lines.length).toBeLessThanOrEqual(6);
      expect(lines.every(Number.isInteger)).toBe(true);
      expect(top).toBeLessThanOrEqual(Math.max(5, largest * 1.75));
    },
  );
});
