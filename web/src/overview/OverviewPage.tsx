import { useQuery } from '@tanstack/react-query';

import { asProblem } from '@/api/problem';
import { overviewQuery, timeseriesQuery } from '@/api/queries';
import { useBusinessClock, useTick, type BusinessClock } from '@/app/clock';
import { PageHeader } from '@/app/PageHeader';
import { clockTime, count, shortDay } from '@/format/format';
import { Failed } from '@/ui/Notice';
import { Skeleton } from '@/ui/Skeleton';
import { Tip } from '@/ui/Tip';

import { ActivityChart } from './ActivityChart';
import { EnrollmentsTable } from './EnrollmentsTable';
import { LiveFeed } from './LiveFeed';
import { SequencesTable } from './SequencesTable';
import { TodayStrip } from './TodayStrip';
import { Totals } from './Totals';

export function OverviewPage() {
  const clock = useBusinessClock();
  const overview = useQuery(overviewQuery);
  const hours = useQuery({ ...timeseriesQuery('24h', clock), enabled: clock.known });

  return (
    <div className="mx-auto grid w-full max-w-360 gap-4 px-4 py-4 lg:px-6 lg:py-5">
      <PageHeader title="Overview">
        <Clock clock={clock} />
      </PageHeader>
      {overview.error && !overview.data && !asProblem(overview.error).passing && (
        <Failed
          error={overview.error}
          retry={() => void overview.refetch()}
          className="rounded-card bg-surface shadow-card"
        />
      )}
      <TodayStrip overview={overview.data} hours={hours.data?.items} />
      <div className="grid grid-cols-1 gap-4 lg:grid-cols-[minmax(0,1fr)_20rem] desk:grid-cols-[minmax(0,1fr)_17.5rem_21rem]">
        <ActivityChart clock={clock} />
        {/* The feed has its own scroll, so that its length never moves what stands below. */}
        <div className="relative max-lg:h-120 lg:col-start-2 lg:row-span-4 lg:row-start-1 desk:col-start-3 desk:row-span-3">
          <div className="absolute inset-0 grid">
            <LiveFeed />
          </div>
        </div>
        <div className="grid min-w-0 desk:col-start-2 desk:row-start-1">
          <Totals overview={overview.data} />
        </div>
        <div className="min-w-0 desk:col-span-2">
          <SequencesTable />
        </div>
        <div className="min-w-0 desk:col-span-2">
          <EnrollmentsTable />
        </div>
      </div>
    </div>
  );
}

function Clock({ clock }: { clock: BusinessClock }) {
  const now = useTick(clock, clock.speed > 10 ? 250 : 1000);
  if (!clock.known) return <Skeleton className="w-32" />;
  const fast = clock.speed !== 1;
  return (
    <Tip
      text={
        fast
          ? `Business time runs ${count(Math.round(clock.speed))} times as fast as the wall: delays and windows go by it.`
          : 'Business time: delays and windows go by it.'
      }
    >
      <button
        type="button"
        data-testid="business-clock"
        className="inline-flex h-7 cursor-default items-center gap-2 rounded-full px-2 text-xs text-ink-2 hover:bg-sunken"
      >
        <span className="tabular">
          {shortDay(now)}, <span className="font-medium text-ink">{clockTime(now)}</span>
        </span>
        {fast && <span className="text-ink-3 tabular">×{count(Math.round(clock.speed))}</span>}
      </button>
    </Tip>
  );
}
