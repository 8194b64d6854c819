import { describe, expect, it } from 'vitest';

import { axis } from './axis';

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
