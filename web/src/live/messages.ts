import type { Activity } from '@/api/client';

import type { WireCursor } from './cursor';

/** What the gateway pushes in namespace /live. */
export interface ServerEvents {
  changed: (message: Changed) => void;
  activity: (message: Activity) => void;
  metrics: (message: unknown) => void;
  lag: (message: { cursor: WireCursor; seconds: number }) => void;
  resync: () => void;
}

export interface ClientEvents {
  subscribe: (message: { room: string }, answer: (ack: SubscribeAck) => void) => void;
}

export interface Changed {
  view: string;
  /** Absent when too many changed, or when an id would help nobody. */
  ids?: string[];
  /** Whole documents as the API shows them, when the push carries them. */
  documents?: { id: string }[] | null;
  cursor: WireCursor;
}

export type SubscribeAck = { ok: true; cursor: WireCursor } | { ok: false; code?: string };
