import { expect, it } from 'vitest';

import { headerPairs } from './headers';

it.each([
  [
    [
      ['Received', 'a'],
      ['Received', 'b'],
    ],
    [
      ['Received', 'a'],
      ['Received', 'b'],
    ],
  ],
  [
    { Subject: 'Hi', Received: ['a', 'b'] },
    [
      ['Subject', 'Hi'],
      ['Received', 'a'],
      ['Received', 'b'],
    ],
  ],
  [null, []],
  ['Subject: Hi', []],
  [[['alone']], []],
])('%j reads as %j', (headers, pairs) => expect(headerPairs(headers)).toEqual(pairs));
