import { CircleHelp, ClipboardList, Users, Workflow, type LucideIcon } from 'lucide-react';

import type { Overview } from '@/api/client';
import { count } from '@/format/format';
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
      <div className="@container grid flex-1 content-start gap-4 px-4 pb-2" aria-busy={!totals}>
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
          <dl className="mt-3 grid gap-x-8 gap-y-1.5 text-sm @min-[20rem]:grid-cols-2 @min-[36rem]:grid-cols-4">
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
        <dl className="grid gap-x-8 border-t border-line text-sm @min-[36rem]:grid-cols-2">
          <Line icon={Users} label="Leads" value={totals && count(totals.leads)} />
          <Line
            icon={Workflow}
            label="Sequences"
            value={totals && count(totals.sequences)}
            note={totals && sequenceNote(totals)}
          />
          <Line icon={ClipboardList} label="Open tasks" value={totals && count(totals.tasks_open)} />
          <Line icon={CircleHelp} label="In doubt" value={totals && count(totals.in_doubt)} />
        </dl>
      </div>
    </Card>
  );
}

function sequenceNote({ sequences_active: active, sequences_pending: pending }: Overview['totals']): string {
  return pending > 0 ? `${count(active)} active, ${count(pending)} pending` : `${count(active)} active`;
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
    <div className="flex min-h-9.5 items-center gap-2.5 border-b border-line whitespace-nowrap last:border-0 @min-[36rem]:nth-3:border-0">
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
