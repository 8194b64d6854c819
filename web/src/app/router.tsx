import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';

import { session } from '@/auth/session';

import { Missing, PageFailed } from './Missing';
import { Shell } from './Shell';

const root = createRootRouteWithContext<{ client: QueryClient }>()({
  component: Outlet,
  notFoundComponent: Missing,
  errorComponent: PageFailed,
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (search: Record<string, unknown>): { back?: string | undefined } => {
    // Only a path of this app: `//host` and the like would lead away.
    const back = search.back;
    return typeof back === 'string' && /^\/(?![/\\])/.test(back) ? { back } : { back: undefined };
  },
  beforeLoad: ({ search }) => {
    if (session.get() !== null) throw redirect({ to: search.back ?? '/', replace: true });
  },
  component: lazyRouteComponent(() => import('@/auth/SignIn'), 'SignIn'),
});

const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  beforeLoad: ({ location }) => {
    if (session.get() === null)
      throw redirect({
        to: '/sign-in',
        search: location.pathname === '/' ? {} : { back: location.pathname },
      });
  },
  component: Shell,
});

const overview = createRoute({
  getParentRoute: () => shell,
  path: '/',
  component: lazyRouteComponent(() => import('@/overview/OverviewPage'), 'OverviewPage'),
});

const mailbox = createRoute({
  getParentRoute: () => shell,
  path: '/mailbox',
  component: lazyRouteComponent(() => import('@/mailbox/MailboxPage'), 'MailboxPage'),
});

const mailboxNone = createRoute({
  getParentRoute: () => mailbox,
  path: '/',
  component: lazyRouteComponent(() => import('@/mailbox/NoMessage'), 'NoMessage'),
});

const mailboxMessage = createRoute({
  getParentRoute: () => mailbox,
  path: '$messageId',
  component: lazyRouteComponent(() => import('@/mailbox/MessagePane'), 'MessagePane'),
});

const tree = root.addChildren([
  signIn,
  shell.addChildren([overview, mailbox.addChildren([mailboxNone, mailboxMessage])]),
]);

export function makeRouter(client: QueryClient) {
  return createRouter({
    routeTree: tree,
    context: { client },
    defaultPreload: 'intent',
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
