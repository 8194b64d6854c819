import { useQuery } from '@tanstack/react-query';
import { Workflow } from 'lucide-react';

import type { SequenceSummary } from '@/api/client';
import { sequencesQuery } from '@/api/queries';
import { count, percent, plural, words } from '@/format/format';
import { Badge, type Tone } from '@/ui/Badge';
import { Card, CardHeader } from '@/ui/Card';
import { DataTable, type Column } from '@/ui/DataTable';
import { Empty, Failed } from '@/ui/Notice';

const TONES: Readonly<Record<SequenceSummary['status'], Tone>> = {
  draft: 'neutral',
  pending: 'warn',
  approved: 'info',
  rejected: 'bad',
  active: 'good',
  paused: 'warn',
  archived: 'neutral',
};

const COLUMNS: readonly Column<SequenceSummary>[] = [
  {
    id: 'name',
    header: 'Sequence',
    accessorFn: (row) => row.name,
    cell: ({ row: { original } }) => (
      <div className="min-w-36">
        <p className="font-medium">{original.name}</p>
        <p className="text-xs text-ink-3">
          {plural(original.steps_count, 'step')}
          {original.version !== null && ` · version ${original.version}`}
        </p>
      </div>
    ),
  },
  {
    id: 'status',
    header: 'Status',
    accessorFn: (row) => row.status,
    cell: ({ row: { original } }) => <Badge tone={TONES[original.status]}>{words(original.status)}</Badge>,
  },
  figure('enrolled', 'Enrolled', (row) => row.stats.enrolled),
  figure('sent', 'Sent', (row) => row.stats.sent, 'sm'),
  rate('open', 'Open rate', (row) => row.stats.rates.open, 'sm'),
  rate('click', 'Click rate', (row) => row.stats.rates.click, 'md'),
  rate('reply', 'Reply rate', (row) => row.stats.rates.reply, 'sm'),
  figure('completed', 'Completed', (row) => row.stats.completed, 'md'),
];

function figure(
  id: string,
  header: string,
  of: (row: SequenceSummary) => number,
  from?: 'sm' | 'md',
): Column<SequenceSummary> {
  return {
    id,
    header,
    accessorFn: of,
    cell: (cell) => count(cell.getValue() as number),
    look: { numeric: true, ...(from && { from }) },
  };
}

function rate(
  id: string,
  header: string,
  of: (row: SequenceSummary) => number,
  from?: 'sm' | 'md',
): Column<SequenceSummary> {
  return {
    id,
    header,
    accessorFn: of,
    cell: (cell) => (cell.row.original.stats.sent === 0 ? <Nothing /> : percent(cell.getValue() as number)),
    look: { numeric: true, ...(from && { from }) },
  };
}

/** A rate of nothing is no rate. */
function Nothing() {
  return (
    <span className="text-ink-3">
      <span aria-hidden>–</span>
      <span className="sr-only">nothing sent yet</span>
    </span>
  );
}

export function SequencesTable() {
  const { data, error, refetch } = useQuery(sequencesQuery);
  return (
    <Card aria-labelledby="sequences" className="overflow-hidden">
      <CardHeader id="sequences" title="Sequences" />
      {error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : (
        <DataTable
          caption="Sequences and how they do"
          columns={COLUMNS}
          rows={data?.items}
          loadingRows={3}
          empty={
            <Empty icon={Workflow} title="No sequences yet">
              Once a sequence is active, its leads, sends and rates stand here.
            </Empty>
          }
        />
      )}
    </Card>
  );
}
