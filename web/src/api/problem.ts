import type { components } from './schema';

export type ProblemDocument = components['schemas']['Problem'];

/** An answer the gateway refused, or no answer at all (`status` 0: the gateway could not be reached). */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string | undefined;
  readonly fields: ReadonlyMap<string, string>;
  /** Seconds after which a retry makes sense, when the gateway said so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(document: Partial<ProblemDocument>, retryAfterSeconds?: number) {
    super(document.detail ?? document.title ?? 'The request failed.');
    this.name = 'Problem';
    this.status = document.status ?? 0;
    this.code = document.code ?? '';
    this.title = document.title ?? 'The request failed.';
    this.detail = document.detail;
    this.fields = new Map((document.errors ?? []).map((error) => [error.field, error.problem]));
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether asking again later may help: no answer, too many requests, or a part that is away. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

/** Reads a failed answer; a body that is no problem document still gives a clear one. */
export function problemOf(response: Response, body: unknown): Problem {
  const document = isDocument(body) ? body : { title: titleOf(response.status) };
  return new Problem(
    { ...document, status: response.status },
    retryAfter(response.headers.get('Retry-After')),
  );
}

function isDocument(body: unknown): body is ProblemDocument {
  return typeof body === 'object' && body !== null && 'title' in body && typeof body.title === 'string';
}

export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError)
    return new Problem({
      title: 'The gateway cannot be reached.',
      detail: 'Check the connection.',
    });
  return new Problem({
    title: 'Something went wrong.',
    detail: error instanceof Error ? error.message : String(error),
  });
}

/** `Retry-After` in seconds or as an HTTP date; undefined when absent or unreadable. */
export function retryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now) / 1000));
}

function titleOf(status: number): string {
  if (status === 401) return 'You are signed out.';
  if (status === 403) return 'You may not do this.';
  if (status === 404) return 'Not found.';
  if (status === 429) return 'Too many requests.';
  if (status >= 500) return 'The service is not available.';
  return 'The request failed.';
}
