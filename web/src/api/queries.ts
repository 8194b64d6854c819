import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, body } from './client';

/** Every query of the app. The first word of a key is what live announcements name (live/views.ts). */

export const RANGES = {
  '24h': { label: '24 hours', bucket: 'hour', stepMs: 3_600_000, count: 24 },
  '14d': { label: '14 days', bucket: 'day', stepMs: 86_400_000, count: 14 },
  '30d': { label: '30 days', bucket: 'day', stepMs: 86_400_000, count: 30 },
} as const;
export type Range = keyof typeof RANGES;

export const overviewQuery = queryOptions({
  queryKey: ['overview'],
  queryFn: ({ signal }) => body(api.GET('/api/v1/metrics/overview', { signal })),
});

/** `now` is asked when the request is made, so that a range always ends with the present business hour or day. */
export const timeseriesQuery = (range: Range, { now, speed }: { now: () => Date; speed: number }) =>
  queryOptions({
    queryKey: ['timeseries', range],
    queryFn: ({ signal }) => {
      const { bucket, stepMs, count } = RANGES[range];
      const to = now();
      const from = new Date(to.getTime() - stepMs * (count - 1)).toISOString();
      const query = { bucket, from, to: to.toISOString() };
      return body(api.GET('/api/v1/metrics/timeseries', { params: { query }, signal }));
    },
    // The present hour passes without an announcement, and faster in a demo.
    refetchInterval: Math.min(30_000, Math.max(2_000, RANGES[range].stepMs / speed)),
  });

export const activitiesQuery = queryOptions({
  queryKey: ['activities'],
  queryFn: ({ signal }) => body(api.GET('/api/v1/activities', { params: { query: { limit: 50 } }, signal })),
});

export const sequencesQuery = queryOptions({
  queryKey: ['sequences'],
  queryFn: ({ signal }) => body(api.GET('/api/v1/sequences', { params: { query: { limit: 50 } }, signal })),
});

export const recentEnrollmentsQuery = queryOptions({
  queryKey: ['enrollments', 'recent'],
  queryFn: ({ signal }) => body(api.GET('/api/v1/enrollments', { params: { query: { limit: 8 } }, signal })),
});

export const mailboxQuery = infiniteQueryOptions({
  queryKey: ['mailbox'],
  queryFn: ({ signal, pageParam }) => {
    const query = { limit: 50, ...(pageParam !== null && { cursor: pageParam }) };
    return body(api.GET('/api/v1/mailbox', { params: { query }, signal }));
  },
  initialPageParam: null as string | null,
  getNextPageParam: (page) => page.next_cursor,
  maxPages: 20,
  // The mailbox is the demo's own sink: nothing announces what reaches it.
  refetchInterval: 5_000,
});

export const messageQuery = (id: string) =>
  queryOptions({
    queryKey: ['message', id],
    queryFn: ({ signal }) =>
      body(api.GET('/api/v1/mailbox/{mail_id}', { params: { path: { mail_id: id } }, signal })),
    staleTime: Infinity,
    refetchInterval: false,
  });

export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }) => body(api.GET('/api/v1/auth/me', { signal })),
  staleTime: 300_000,
  refetchInterval: false,
});
