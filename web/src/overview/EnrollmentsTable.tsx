import { useQuery } from '@tanstack/react-query';
import { UserRoundPlus } from 'lucide-react';
import { useMemo } from 'react';

import type { EnrollmentSummary } from '@/api/client';
import { recentEnrollmentsQuery, sequencesQuery } from '@/api/queries';
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

/** An enrollment with the name of its sequence, which the list of sequences knows. */
interface Row extends EnrollmentSummary {
  sequence: string;
}

/** What an enrollment waits for, or why it ended. */
function standing({ status, reason, waiting_for: wait, next, current_step: step }: Row): string {
  if (status === 'exited' || status === 'paused') return reason ? words(reason) : '';
  if (status === 'completed') return 'Every step done';
  const name = next?.step_id ?? step;
  const until = next?.at ?? wait?.until;
  if (name && until) return `${words(name)}, ${moment(new Date(until))}`;
  return name ? words(name) : wait?.why ? words(wait.why.rule) : '';
}

const COLUMNS: readonly Column<Row>[] = [
  {
    id: 'lead',
    header: 'Lead',
    accessorFn: (row) => row.lead_name ?? '',
    cell: ({ row: { original } }) => (
      <div className="max-w-56 min-w-24">
        <p className="truncate font-medium">{original.lead_name ?? 'No name'}</p>
        <p className="truncate text-xs text-ink-3">{original.sequence}</p>
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
    header: 'Enrolled',
    accessorFn: (row) => row.started_at ?? '',
    cell: ({ row: { original } }) =>
      original.started_at && (
        <time dateTime={original.started_at} className="whitespace-nowrap">
          {clockTime(new Date(original.started_at))}
          <span className="block text-xs text-ink-3">{shortDay(new Date(original.started_at))}</span>
        </time>
      ),
    look: { numeric: true },
  },
];

export function EnrollmentsTable() {
  const { data, error, refetch } = useQuery(recentEnrollmentsQuery);
  const { data: sequences } = useQuery(sequencesQuery);
  const rows = useMemo(() => {
    const names = new Map(sequences?.items.map(({ id, name }) => [id, name]));
    return data?.items.map((item) => ({ ...item, sequence: names.get(item.sequence_id) ?? '' }));
  }, [data, sequences]);
  return (
    <Card aria-labelledby="enrollments" className="overflow-hidden">
      <CardHeader id="enrollments" title="Recent enrollments" />
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : (
        <DataTable
          caption="Enrollments, newest first"
          columns={COLUMNS}
          rows={rows}
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
