import type { TimeseriesPoint } from '@/api/client';

/** The measures drawn over time, in the order they are listed. `colour` is a CSS variable of styles/tokens.css. */
export const MEASURES = [
  { key: 'sent', label: 'Sent', colour: 'var(--sent)' },
  { key: 'opened', label: 'Opened', colour: 'var(--opened)' },
  { key: 'clicked', label: 'Clicked', colour: 'var(--clicked)' },
  { key: 'replied', label: 'Replied', colour: 'var(--replied)' },
  { key: 'bounced', label: 'Bounced', colour: 'var(--bounced)' },
  { key: 'unsubscribed', label: 'Unsubscribed', colour: 'var(--unsubscribed)' },
] as const satisfies readonly { key: keyof TimeseriesPoint; label: string; colour: string }[];

export type Measure = (typeof MEASURES)[number]['key'];
