import { useQuery } from '@tanstack/react-query';
import { UserRoundPlus } from 'lucide-react';

import type { EnrollmentSummary } from '@/api/client';
import { recentEnrollmentsQuery } from '@/api/queries';
import { clockTime, moment, shortDay, words } from '@/format/format';
import { Badge, type Tone } from '@/ui/Badge';
import { Card, CardHeader } from '@/ui/Card';
import { DataTable, type Column } from '@/ui/DataTable';
import { Empty, Failed } from '@/ui/Notice';

const TONES: Readonly<Record<EnrollmentSummary['status'], Tone>> = {
  pending: 'neutral',
  active: 'good',
  paused: 'warn',
  completed: 'info',
  exited: 'neutral',
};

/** What an enrollment waits for, or why it ended. */
function standing({
  status,
  reason,
  waiting_for: wait,
  current_step_name: name,
  current_step: step,
}: EnrollmentSummary): string {
  if (status === 'exited' || status === 'paused') return reason ? words(reason) : '';
  if (status === 'completed') return 'Every step done';
  const at = name ?? step;
  const until = wait?.until ? moment(new Date(wait.until)) : undefined;
  if (at && until) return `${at}, ${until}`;
  return at ?? (wait?.why ? words(wait.why) : '');
}

const COLUMNS: readonly Column<EnrollmentSummary>[] = [
  {
    id: 'lead',
    header: 'Lead',
    accessorFn: (row) => row.lead_name ?? '',
    cell: ({ row: { original } }) => (
      <div className="max-w-56 min-w-24">
        <p className="truncate font-medium">{original.lead_name ?? 'No name'}</p>
        <p className="truncate text-xs text-ink-3">{original.sequence_name}</p>
      </div>
    ),
  },
  {
    id: 'status',
    header: 'Status',
    accessorFn: (row) => row.status,
    cell: ({ row: { original } }) => <Badge tone={TONES[original.status]}>{words(original.status)}</Badge>,
  },
  {
    id: 'standing',
    header: 'Next, or why it ended',
    enableSorting: false,
    cell: ({ row: { original } }) => <span className="text-ink-2">{standing(original)}</span>,
    look: { from: 'sm' },
  },
  {
    id: 'at',
    header: 'Last change',
    accessorFn: (row) => row.updated_at ?? '',
    cell: ({ row: { original } }) => (
      <time dateTime={original.updated_at ?? undefined} className="whitespace-nowrap">
        {original.updated_at && (
          <>
            {clockTime(new Date(original.updated_at))}
            <span className="block text-xs text-ink-3">{shortDay(new Date(original.updated_at))}</span>
          </>
        )}
      </time>
    ),
    look: { numeric: true },
  },
];

export function EnrollmentsTable() {
  const { data, error, refetch } = useQuery(recentEnrollmentsQuery);
  return (
    <Card aria-labelledby="enrollments" className="overflow-hidden">
      <CardHeader id="enrollments" title="Recent enrollments" />
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : (
        <DataTable
          caption="Enrollments that changed last"
          columns={COLUMNS}
          rows={data?.items}
          loadingRows={6}
          empty={
            <Empty icon={UserRoundPlus} title="Nobody is enrolled yet">
              A lead that matches an active sequence shows here as soon as it comes in.
            </Empty>
          }
        />
      )}
    </Card>
  );
}
