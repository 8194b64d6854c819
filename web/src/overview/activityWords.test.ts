import { describe, expect, it } from 'vitest';

import type { Activity } from '@/api/client';

import { tell } from './activityWords';

function activity(kind: string, detail: Record<string, unknown> = {}): Activity {
  return {
    id: '1',
    at: '2026-11-24T10:00:00Z',
    kind,
    lead_id: 'l',
    lead_name: 'Ada Byron',
    enrollment_id: null,
    sequence_id: 's',
    sequence_name: 'Webinar follow-up',
    step_id: 'welcome',
    step_name: 'Welcome',
    actor: null,
    group: 'messages',
    title: '',
    outcome: null,
    duration_seconds: null,
    detail,
    position: 1,
  };
}

describe('tell', () => {
  it.each([
    ['enrollment.step_sent', {}, 'was sent', 'Welcome'],
    ['enrollment.step_sent.v1', {}, 'was sent', 'Welcome'],
    ['enrollment.engagement_noted', { signal: 'clicked' }, 'clicked in', 'Welcome'],
    ['enrollment.engagement_noted', { signal: 'unheard_of' }, 'reacted to', 'Welcome'],
    ['enrollment.step_failed', { bounce: true }, 'bounced on', 'Welcome'],
    ['enrollment.exited', { reason: 'meeting_booked' }, 'left', 'Webinar follow-up · meeting booked'],
    ['lead.captured', { source: 'Web Form' }, 'came in', 'Web Form'],
    ['lead.scored', { after: 42 }, 'has a new score', '42'],
    ['planet.turned_round', {}, 'turned round', 'Welcome'],
  ])('%s %o reads "%s" "%s"', (kind, detail, does, what) => {
    const told = tell(activity(kind, detail));
    expect(told.does).toBe(does);
    expect(told.what).toBe(what);
  });

  it('falls back on the step id', () => {
    expect(tell({ ...activity('enrollment.step_sent'), step_name: null }).what).toBe('Welcome');
  });
});
