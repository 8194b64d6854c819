import { describe, expect, it } from 'vitest';

import { asProblem, problemOf, retryAfter } from './problem';

describe('problemOf', () => {
  it('keeps what the document says, field by field', () => {
    const problem = problemOf(new Response(null, { status: 422 }), {
      type: 'about:blank',
      title: 'Not valid.',
      status: 422,
      code: 'invalid',
      errors: [{ field: 'username', problem: 'is required' }],
    });
    expect(problem.code).toBe('invalid');
    expect(problem.fields.get('username')).toBe('is required');
    expect(problem.passing).toBe(false);
  });

  it.each([
    [401, 'You are signed out.'],
    [429, 'Too many requests.'],
    [503, 'The service is not available.'],
  ])('names a bare %s', (status, title) =>
    expect(problemOf(new Response(null, { status }), '<html>').title).toBe(title),
  );

  it('reads how long to wait', () => {
    const response = new Response(null, { status: 503, headers: { 'Retry-After': '7' } });
    expect(problemOf(response, null).retryAfterSeconds).toBe(7);
  });
});

describe('retryAfter', () => {
  const now = Date.parse('2026-11-24T14:00:00Z');
  it.each([
    [null, undefined],
    ['', undefined],
    ['12', 12],
    ['-4', 0],
    ['Tue, 24 Nov 2026 14:00:30 GMT', 30],
    ['soon', undefined],
  ])('%s gives %s', (header, seconds) => expect(retryAfter(header, now)).toBe(seconds));
});

it('a network failure is a passing problem', () => {
  const problem = asProblem(new TypeError('Failed to fetch'));
  expect(problem.status).toBe(0);
  expect(problem.passing).toBe(true);
});
