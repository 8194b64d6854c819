import { expect, it } from 'vitest';

import { framed } from './framed';

it('puts the policy before anything of the message', () => {
  const page = framed('<img src="https://tracker.example/t/o/x.gif"><p>Hi</p>');
  expect(page.indexOf('Content-Security-Policy')).toBeLessThan(page.indexOf('<img'));
  expect(page).toContain("default-src 'none'");
  expect(page).not.toMatch(/img-src [^;]*https?:/);
});
