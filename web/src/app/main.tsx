import '@/styles/index.css';

import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { asProblem } from '@/api/problem';

import { makeRouter } from './router';

const MAX_RETRIES = 3;
/** How often what could not be read is asked for again. */
const AFTER_FAILURE_MS = 5_000;
/** How often what is shown is read again though nothing was announced: midnight comes without a push. */
const QUIET_MS = 30_000;

/** What passes by itself is tried again, no sooner than the gateway asked; what does not is shown at once. */
const client = new QueryClient({
  defaultOptions: {
    queries: {
      refetchInterval: ({ state }) =>
        state.status === 'error' && asProblem(state.error).passing ? AFTER_FAILURE_MS : QUIET_MS,
      staleTime: 10_000,
      retry: (failures, error) => asProblem(error).passing && failures < MAX_RETRIES,
      retryDelay: (failures, error) =>
        Math.max((asProblem(error).retryAfterSeconds ?? 0) * 1000, Math.min(8_000, 500 * 2 ** failures)),
    },
  },
});

/** A page opened before an update asks for parts that are gone: it starts anew, but not again and again. */
const RELOADED = 'tendril.reloaded';
window.addEventListener('vite:preloadError', (event) => {
  if (Date.now() - Number(sessionStorage.getItem(RELOADED) ?? 0) < 30_000) return;
  sessionStorage.setItem(RELOADED, String(Date.now()));
  event.preventDefault();
  window.location.reload();
});

const router = makeRouter(client);
const place = document.getElementById('root');
if (place === null) throw new Error('The page has no #root.');
createRoot(place).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
