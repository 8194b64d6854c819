/** How figures and moments are written. The zone is the reader's own unless one is given. */

const LOCALE = 'en-GB';

const whole = new Intl.NumberFormat(LOCALE);
const compact = new Intl.NumberFormat(LOCALE, { notation: 'compact', maximumFractionDigits: 1 });

/** 12345 -> "12,345". */
export function count(value: number): string {
  return whole.format(value);
}

/** 12345 -> "12.3k"; below 10,000 the whole number. For axes and narrow places. */
export function shortCount(value: number): string {
  return Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value).toLowerCase();
}

/** A fraction 0..1 as a percentage: one decimal below 10%, none from there on. 0 is "0%". */
export function percent(fraction: number): string {
  if (!Number.isFinite(fraction)) return '–';
  const value = fraction * 100;
  if (value === 0 || value === 100) return `${value}%`;
  return `${value.toFixed(value < 9.95 ? 1 : 0)}%`;
}

/** "1 lead", "2 leads". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function formatter(options: Intl.DateTimeFormatOptions, timeZone: string | undefined): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat(LOCALE, timeZone === undefined ? options : { ...options, timeZone });
}

/** "14:05". */
export function clockTime(at: Date, timeZone?: string): string {
  return formatter({ hour: '2-digit', minute: '2-digit' }, timeZone).format(at);
}

/** "Tue 24 Nov". */
export function shortDay(at: Date, timeZone?: string): string {
  return formatter({ weekday: 'short', day: 'numeric', month: 'short' }, timeZone)
    .format(at)
    .replace(',', '');
}

/** "24 Nov". */
export function dayOfMonth(at: Date, timeZone?: string): string {
  return formatter({ day: 'numeric', month: 'short' }, timeZone).format(at);
}

/** "Tuesday 24 November". */
export function longDay(at: Date, timeZone?: string): string {
  return formatter({ weekday: 'long', day: 'numeric', month: 'long' }, timeZone).format(at).replace(',', '');
}

/** "Tue 24 Nov, 14:05". */
export function moment(at: Date, timeZone?: string): string {
  return `${shortDay(at, timeZone)}, ${clockTime(at, timeZone)}`;
}

/** The distance from `now`, in the two coarsest words a reader needs: "in 3 d", "5 min ago", "now" within a minute. */
export function distance(at: Date, now: Date): string {
  const seconds = (at.getTime() - now.getTime()) / 1000;
  const size = Math.abs(seconds);
  if (size < 60) return 'now';
  const [value, unit] =
    size < 3600 ? [size / 60, 'min'] : size < 86_400 ? [size / 3600, 'h'] : [size / 86_400, 'd'];
  const words = `${Math.floor(value)} ${unit}`;
  return seconds > 0 ? `in ${words}` : `${words} ago`;
}

/** A lag in seconds: "live" below 1.5 s, "4 s behind", "2 min behind". */
export function lagWords(seconds: number): string {
  if (seconds < 1.5) return 'Live';
  if (seconds < 90) return `${Math.round(seconds)} s behind`;
  return `${Math.round(seconds / 60)} min behind`;
}

/** A code as words: "warm_lead" -> "Warm lead". */
export function words(code: string): string {
  const spaced = code.replaceAll(/[_-]+/g, ' ').trim();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** Up to two letters for a name's disc. "ada@example.com" -> "A". */
export function initials(name: string): string {
  const parts = name
    .replace(/@.*/, '')
    .split(/[\s._-]+/)
    .filter(Boolean);
  return ((parts[0]?.[0] ?? '?') + (parts.length > 1 ? (parts.at(-1)?.[0] ?? '') : '')).toUpperCase();
}
