import { CircleHelp, ClipboardList, Users, Workflow, type LucideIcon } from 'lucide-react';

import type { Overview } from '@/api/client';
import { count, plural } from '@/format/format';
import { Card, CardHeader } from '@/ui/Card';
import { Skeleton } from '@/ui/Skeleton';

const STATES = [
  { key: 'enrollments_active', label: 'Active', colour: 'var(--replied)' },
  { key: 'enrollments_paused', label: 'Paused', colour: 'var(--unsubscribed)' },
  { key: 'enrollments_completed', label: 'Completed', colour: 'var(--opened)' },
  { key: 'enrollments_exited', label: 'Exited', colour: 'var(--sent)' },
] as const;

/** Everything there is, over all time. */
export function Totals({ overview }: { overview: Overview | undefined }) {
  const totals = overview?.totals;
  const all = totals ? STATES.reduce((sum, { key }) => sum + totals[key], 0) : 0;
  return (
    <Card aria-labelledby="totals" className="flex flex-col">
      <CardHeader id="totals" title="In all" />
      <div className="grid flex-1 content-start gap-5 px-4 pb-4" aria-busy={!totals}>
        <div>
          <p className="flex items-baseline justify-between text-sm">
            <span className="text-ink-2">Enrollments</span>
            {totals ? (
              <span className="font-semibold tabular">{count(all)}</span>
            ) : (
              <Skeleton className="w-12" />
            )}
          </p>
          <div aria-hidden className="mt-2 flex h-2 gap-0.5 overflow-hidden rounded-full bg-sunken">
            {totals &&
              STATES.filter(({ key }) => totals[key] > 0).map(({ key, colour }) => (
                <span
                  key={key}
                  className="min-w-1 transition-[flex-grow] duration-500"
                  style={{ background: colour, flexGrow: totals[key] }}
                />
              ))}
          </div>
          <dl className="mt-3 grid grid-cols-2 gap-x-5 gap-y-1.5 text-sm">
            {STATES.map(({ key, label, colour }) => (
              <div key={key} data-testid={`total-${key}`} className="flex items-center gap-2">
                <dt className="flex items-center gap-2 text-ink-2">
                  <span aria-hidden className="size-2 rounded-full" style={{ background: colour }} />
                  {label}
                </dt>
                <dd className="ml-auto font-medium tabular">
                  {totals ? count(totals[key]) : <Skeleton className="w-8" />}
                </dd>
              </div>
            ))}
          </dl>
        </div>
        <dl className="grid border-t border-line text-sm">
          <Line icon={Users} label="Leads" value={totals && count(totals.leads)} />
          <Line
            icon={Workflow}
            label="Sequences"
            value={totals && count(totals.sequences)}
            note={totals && `${totals.sequences_active} active, ${totals.sequences_pending} pending approval`}
          />
          <Line icon={ClipboardList} label="Open tasks" value={totals && count(totals.tasks_open)} />
          <Line
            icon={CircleHelp}
            label="In doubt"
            value={totals && count(totals.in_doubt)}
            note={
              totals && totals.in_doubt > 0
                ? `${plural(totals.in_doubt, 'send')} without an answer`
                : undefined
            }
          />
        </dl>
      </div>
    </Card>
  );
}

function Line({
  icon: Icon,
  label,
  value,
  note,
}: {
  icon: LucideIcon;
  label: string;
  value: string | undefined;
  note?: string | undefined;
}) {
  return (
    <div className="flex min-h-10 items-center gap-2.5 border-b border-line last:border-0">
      <Icon aria-hidden className="size-4 text-ink-3" />
      <dt className="text-ink-2">{label}</dt>
      <dd className="ml-auto flex items-baseline gap-2 text-right">
        {note !== undefined && <span className="text-xs text-ink-3">{note}</span>}
        {value === undefined ? (
          <Skeleton className="w-8" />
        ) : (
          <span className="font-semibold tabular">{value}</span>
        )}
      </dd>
    </div>
  );
}
