import { useQueryClient } from '@tanstack/react-query';
import { TriangleAlert } from 'lucide-react';
import { useSyncExternalStore } from 'react';

import { asProblem } from '@/api/problem';

/** Says, over the page and without moving it, that something shown could not be read and is tried again. */
export function Trouble() {
  const cache = useQueryClient().getQueryCache();
  const reason = useSyncExternalStore(
    (listener) => cache.subscribe(listener),
    () =>
      cache.findAll({ type: 'active' }).find(({ state }) => state.fetchFailureReason)?.state
        .fetchFailureReason,
  );
  const problem = reason && asProblem(reason);
  return (
    <div
      role="status"
      className="pointer-events-none fixed inset-x-0 bottom-[calc(4.5rem+env(safe-area-inset-bottom))] z-40 flex justify-center px-4 lg:bottom-5"
    >
      {problem?.passing && (
        <p className="pointer-events-auto flex max-w-160 animate-rise items-center gap-2.5 rounded-xl bg-raised px-4 py-2.5 text-sm shadow-float">
          <TriangleAlert aria-hidden className="size-4 shrink-0 text-warn" />
          <span>
            <span className="font-medium">{problem.title}</span>{' '}
            <span className="text-ink-2">{problem.detail} Trying again.</span>
          </span>
        </p>
      )}
    </div>
  );
}
