import { useQueryClient, type QueryClient } from '@tanstack/react-query';
import { useEffect, useReducer, useRef, type ReactNode } from 'react';

import { connect } from './connection';
import { LiveContext } from './context';
import type { Changed } from './messages';
import { Pace } from './pace';
import { INITIAL, patch, reduce } from './state';
import { ALL_CONCERNS, concerns } from './views';

/** At most two refetches a second for each query. */
const REFETCH_GAP_MS = 500;

function isPage(data: unknown): data is { items: { id: string }[] } {
  return typeof data === 'object' && data !== null && 'items' in data && Array.isArray(data.items);
}

/** Shows pushed documents at once; the refetch that follows has the last word. */
function patchLists(client: QueryClient, { view, documents }: Changed): void {
  if (!documents?.length) return;
  client.setQueriesData({ queryKey: [view] }, (data: unknown) => {
    if (!isPage(data)) return data;
    const items = patch(data.items, documents);
    return items === data.items ? data : { ...data, items };
  });
}

/** Holds the organization's live line for everything below it, and keeps what is shown up to date. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [state, dispatch] = useReducer(reduce, INITIAL);
  const paceRef = useRef<Pace>(null);

  useEffect(() => {
    const pace = new Pace((word) => client.invalidateQueries({ queryKey: [word] }), REFETCH_GAP_MS);
    paceRef.current = pace;
    const close = connect(
      'organization',
      dispatch,
      (message) => {
        patchLists(client, message);
        for (const word of concerns(message.view)) pace.ask(word);
      },
      () => pace.ask('overview'),
    );
    return () => {
      pace.stop();
      close();
    };
  }, [client]);

  useEffect(() => {
    if (state.epoch > 0) for (const word of ALL_CONCERNS) paceRef.current?.ask(word);
  }, [state.epoch]);

  return <LiveContext value={state}>{children}</LiveContext>;
}
