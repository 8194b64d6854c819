/** Which queries a change of a view concerns, by the first word of their keys. */
const CONCERNS: Readonly<Record<string, readonly string[]>> = {
  leads: ['overview', 'enrollments'],
  sequences: ['sequences', 'overview'],
  enrollments: ['enrollments', 'overview'],
  statistics: ['overview', 'timeseries', 'sequences'],
  timeline: ['activities'],
  messages: ['mailbox'],
  tasks: ['overview'],
};

/** A view this page does not know concerns nothing it shows. */
export function concerns(view: string): readonly string[] {
  return CONCERNS[view] ?? [];
}

/** Every first word that live changes can reach. */
export const ALL_CONCERNS: readonly string[] = [...new Set(Object.values(CONCERNS).flat())];
