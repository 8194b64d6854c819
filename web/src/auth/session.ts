import { problemOf, Problem } from '@/api/problem';
import type { components } from '@/api/schema';

/**
 * Who is signed in. The pair of tokens lives in localStorage, so that every tab of the same browser shares one
 * sign-in; the refresh runs under a lock, because a refresh token may be used only once.
 */

type TokenPair = components['schemas']['TokenPair'];

export interface Session {
  accessToken: string;
  refreshToken: string;
  /** Milliseconds since the epoch, on this machine's clock. */
  expiresAt: number;
}

const KEY = 'tendril.session';
const MARGIN_MS = 15_000;
const listeners = new Set<() => void>();

function read(): Session | null {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === null ? null : (JSON.parse(stored) as Session);
  } catch {
    return null;
  }
}

let current = read();

function announce(): void {
  for (const listener of listeners) listener();
}

function keep(session: Session | null): void {
  current = session;
  if (session === null) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, JSON.stringify(session));
  announce();
}

window.addEventListener('storage', (event) => {
  if (event.key !== KEY) return;
  current = read();
  announce();
});

function sessionOf(pair: TokenPair): Session {
  return {
    accessToken: pair.access_token,
    refreshToken: pair.refresh_token,
    expiresAt: Date.now() + pair.expires_in * 1000,
  };
}

async function post(path: string, body: BodyInit, contentType: string): Promise<TokenPair> {
  const response = await fetch(path, { method: 'POST', body, headers: { 'Content-Type': contentType } });
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) throw problemOf(response, answer);
  return answer as TokenPair;
}

/** One tab at a time. Web locks exist on secure pages only; elsewhere each tab renews for itself. */
async function alone(renewal: () => Promise<string | null>): Promise<string | null> {
  if (!('locks' in navigator)) return renewal();
  let token: string | null = null;
  await navigator.locks.request(KEY, async () => {
    token = await renewal();
  });
  return token;
}

export const session = {
  get: (): Session | null => current,

  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },

  /** Raises Problem: 401 for a wrong address or password, 429 after too many tries, 503 while a part is away. */
  async signIn(organization: string, email: string, password: string): Promise<void> {
    const form = new URLSearchParams({ username: email, password, organization });
    keep(sessionOf(await post('/api/v1/auth/token', form, 'application/x-www-form-urlencoded')));
  },

  signOut(): void {
    keep(null);
  },

  /** A token that is good for a request now, or null when nobody is signed in. Raises a passing Problem when it could not be renewed. */
  async accessToken(): Promise<string | null> {
    if (current === null) return null;
    return current.expiresAt - Date.now() > MARGIN_MS
      ? current.accessToken
      : session.renew(current.accessToken);
  },

  /** Replaces `spent`; answers at once when another tab already did. Null when the sign-in has ended. */
  renew(spent: string): Promise<string | null> {
    return alone(async () => {
      current = read();
      if (current === null) return null;
      if (current.accessToken !== spent) return current.accessToken;
      try {
        const body = JSON.stringify({ refresh_token: current.refreshToken });
        const renewed = sessionOf(await post('/api/v1/auth/refresh', body, 'application/json'));
        keep(renewed);
        return renewed.accessToken;
      } catch (error) {
        if (error instanceof Problem && !error.passing) {
          keep(null);
          return null;
        }
        throw error;
      }
    });
  },
};
