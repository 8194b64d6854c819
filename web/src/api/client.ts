import createClient, { type Middleware } from 'openapi-fetch';

import { session } from '@/auth/session';

import { problemOf } from './problem';
import type { components, paths } from './schema';

type Schemas = components['schemas'];
export type Activity = Schemas['Activity'];
export type EnrollmentSummary = Schemas['EnrollmentSummary'];
export type MailboxItem = Schemas['MailboxItem'];
export type MailboxMessage = Schemas['MailboxMessage'];
export type Me = Schemas['Me'];
export type Overview = Schemas['Overview'];
export type SequenceSummary = Schemas['SequenceSummary'];
export type TimeseriesPoint = Schemas['TimeseriesPoint'];

/** A request is sent once more with a new token when the first one had ended meanwhile. */
async function fetchSignedIn(request: Request): Promise<Response> {
  const again = request.clone();
  const token = await session.accessToken();
  if (token !== null) request.headers.set('Authorization', `Bearer ${token}`);
  const response = await fetch(request);
  if (response.status !== 401 || token === null) return response;
  const renewed = await session.renew(token);
  if (renewed === null) return response;
  again.headers.set('Authorization', `Bearer ${renewed}`);
  return fetch(again);
}

const raiseProblems: Middleware = {
  async onResponse({ response }) {
    if (!response.ok)
      throw problemOf(
        response,
        await response
          .clone()
          .json()
          .catch(() => null),
      );
  },
};

export const api = createClient<paths>({ fetch: fetchSignedIn });
api.use(raiseProblems);

/** The body of an answer; failed answers have already been raised as Problem. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  const { data } = await answer;
  if (data === undefined) throw new Error('The answer had no body.');
  return data;
}
