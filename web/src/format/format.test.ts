import { describe, expect, it } from 'vitest';

import {
  clockTime,
  count,
  distance,
  initials,
  lagWords,
  longDay,
  moment,
  percent,
  plural,
  shortCount,
  words,
} from './format';

const AT = new Date('2026-11-24T14:05:00Z');

describe('figures', () => {
  it.each([
    [0, '0%'],
    [0.004, '0.4%'],
    [0.0994, '9.9%'],
    [0.0996, '10%'],
    [0.4567, '46%'],
    [1, '100%'],
    [Number.NaN, '–'],
  ])('percent(%s) is %s', (fraction, text) => expect(percent(fraction)).toBe(text));

  it('groups thousands', () => expect(count(1_234_567)).toBe('1,234,567'));
  it('shortens from ten thousand on', () => {
    expect(shortCount(9_999)).toBe('9,999');
    expect(shortCount(12_345)).toBe('12.3k');
    expect(shortCount(2_500_000)).toBe('2.5m');
  });
  it('knows one from many', () => {
    expect(plural(1, 'lead')).toBe('1 lead');
    expect(plural(0, 'reply', 'replies')).toBe('0 replies');
  });
});

describe('moments', () => {
  it('is written in the zone asked for', () => {
    expect(clockTime(AT, 'UTC')).toBe('14:05');
    expect(clockTime(AT, 'America/New_York')).toBe('09:05');
    expect(moment(AT, 'UTC')).toBe('Tue 24 Nov, 14:05');
    expect(longDay(AT, 'UTC')).toBe('Tuesday 24 November');
  });

  it.each([
    [0, 'now'],
    [59_000, 'now'],
    [-61_000, '1 min ago'],
    [3 * 3_600_000, 'in 3 h'],
    [-49 * 3_600_000, '2 d ago'],
  ])('distance %s ms is %s', (offset, text) =>
    expect(distance(new Date(AT.getTime() + offset), AT)).toBe(text),
  );

  it.each([
    [0.2, 'Live'],
    [4.4, '4 s behind'],
    [240, '4 min behind'],
  ])('a lag of %s s is %s', (seconds, text) => expect(lagWords(seconds)).toBe(text));
});

describe('names', () => {
  it('turns codes into words', () => expect(words('cold_outreach')).toBe('Cold outreach'));
  it.each([
    ['Ada Byron', 'AB'],
    ['ada@example.com', 'A'],
    ['', '?'],
  ])('initials of %s are %s', (name, text) => expect(initials(name)).toBe(text));
});
