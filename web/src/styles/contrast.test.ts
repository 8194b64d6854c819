import { describe, expect, it } from 'vitest';

import tokens from './tokens.css?raw';

function palette(selector: string): Map<string, string> {
  const start = tokens.indexOf(`${selector} {`);
  const block = tokens.slice(start, tokens.indexOf('}', start));
  return new Map([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map((m) => [m[1] ?? '', m[2] ?? '']));
}

function luminance(hex: string): number {
  const channel = (at: number) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

const GROUNDS = ['canvas', 'surface', 'sunken', 'raised'];
const TEXT = ['ink', 'ink-2', 'ink-3', 'accent', 'good', 'warn', 'bad', 'info'];
const SERIES = ['sent', 'opened', 'clicked', 'replied', 'bounced', 'unsubscribed', 'enrolled', 'line-strong'];

describe.each([':root', "[data-theme='dark']"])('palette %s', (selector) => {
  const colours = palette(selector);
  const of = (name: string) => {
    const value = colours.get(name);
    if (value === undefined) throw new Error(`no colour ${name}`);
    return value;
  };

  it.each(TEXT.flatMap((text) => GROUNDS.map((ground) => [text, ground] as const)))(
    'text %s on %s reads at 4.5 to 1',
    (text, ground) => expect(contrast(of(text), of(ground))).toBeGreaterThanOrEqual(4.5),
  );

  it.each(SERIES.map((name) => [name]))('graphic %s stands out from the surface at 3 to 1', (name) =>
    expect(contrast(of(name), of('surface'))).toBeGreaterThanOrEqual(3),
  );

  it.each(['good', 'warn', 'bad', 'info', 'accent'])('badge %s reads on its own soft ground', (name) =>
    expect(contrast(of(name), of(`${name}-soft`))).toBeGreaterThanOrEqual(4.5),
  );

  it('reads on the accent', () =>
    expect(contrast(of('accent-ink'), of('accent'))).toBeGreaterThanOrEqual(4.5));
});
