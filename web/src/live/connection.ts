import { io, type Socket } from 'socket.io-client';

import type { Activity } from '@/api/client';
import { session } from '@/auth/session';

import type { Changed, ClientEvents, ServerEvents } from './messages';
import type { LiveReport } from './state';

/** How long pushed activities are gathered before the page is drawn again: under what an eye notices. */
const GATHER_MS = 80;

/** Opens the live line to a room. Reports to `report`; `changed` hears of every change. Returns what closes it. */
export function connect(
  room: string,
  report: (report: LiveReport) => void,
  changed: (message: Changed) => void,
  metrics: () => void,
): () => void {
  const socket: Socket<ServerEvents, ClientEvents> = io('/live', {
    path: '/socket.io',
    transports: ['websocket'],
    reconnectionDelay: 500,
    reconnectionDelayMax: 5_000,
    auth: (answer) => {
      session.accessToken().then(
        (token) => answer({ token }),
        () => answer({ token: null }),
      );
    },
  });

  let gathered: Activity[] = [];
  let gathering: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    gathering = undefined;
    report({ type: 'activities', items: gathered });
    gathered = [];
  };

  let retry: ReturnType<typeof setTimeout> | undefined;
  const retryLater = (ms: number) => {
    clearTimeout(retry);
    retry = setTimeout(() => socket.connect(), ms);
  };

  socket.on('connect', () => {
    socket.emit('subscribe', { room }, (ack) => {
      if (ack.ok) report({ type: 'subscribed', cursor: ack.cursor });
      else socket.disconnect();
    });
  });
  socket.on('disconnect', (reason) => {
    report({ type: 'lost' });
    // The client library comes back by itself, except when the server closed the line (a token that ended).
    if (reason === 'io server disconnect') retryLater(300);
  });
  socket.on('connect_error', () => {
    report({ type: 'lost' });
    if (!socket.active) retryLater(3_000);
  });
  socket.on('changed', (message) => {
    report({ type: 'changed', cursor: message.cursor });
    changed(message);
  });
  socket.on('activity', (message) => {
    gathered.push(message);
    gathering ??= setTimeout(flush, GATHER_MS);
  });
  socket.on('metrics', metrics);
  socket.on('lag', ({ cursor, seconds }) => report({ type: 'lag', cursor, seconds }));
  socket.on('resync', () => report({ type: 'resync' }));

  return () => {
    clearTimeout(retry);
    clearTimeout(gathering);
    socket.disconnect();
  };
}
