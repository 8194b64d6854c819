import { Link, Outlet, useNavigate } from '@tanstack/react-router';
import { LayoutDashboard, Mail } from 'lucide-react';
import { useEffect, useSyncExternalStore } from 'react';

import { session } from '@/auth/session';
import { LiveProvider } from '@/live/LiveProvider';
import { TipProvider } from '@/ui/Tip';

import { AccountMenu } from './AccountMenu';
import { LiveIndicator } from './LiveIndicator';
import { Logo } from './Logo';
import { Trouble } from './Trouble';

const PAGES = [
  { to: '/', label: 'Overview', icon: LayoutDashboard, exact: true },
  { to: '/mailbox', label: 'Demo mailbox', icon: Mail, exact: false },
] as const;

/** What stands around every page: the sidebar on a desk, a bar above and below on a phone. */
export function Shell() {
  const navigate = useNavigate();
  const signedIn = useSyncExternalStore(session.subscribe, session.get) !== null;

  useEffect(() => {
    if (!signedIn) void navigate({ to: '/sign-in', search: { back: window.location.pathname } });
  }, [signedIn, navigate]);

  if (!signedIn) return null;
  return (
    <LiveProvider>
      <TipProvider delayDuration={250}>
        <a
          href="#main"
          className="sr-only z-50 rounded-lg bg-accent px-4 py-2 text-sm font-medium text-accent-ink focus:not-sr-only focus:fixed focus:top-3 focus:left-3"
        >
          Skip to the content
        </a>
        <div className="lg:grid lg:grid-cols-[15rem_minmax(0,1fr)]">
          <aside className="sticky top-0 hidden h-dvh flex-col border-r border-line bg-canvas p-3 lg:flex">
            <div className="flex h-10 items-center gap-2.5 px-1.5">
              <Logo />
              <span className="text-lg font-semibold tracking-[-0.015em]">Tendril</span>
            </div>
            <nav aria-label="Main" className="mt-5 grid gap-0.5">
              {PAGES.map(({ to, label, icon: Icon, exact }) => (
                <Link
                  key={to}
                  to={to}
                  activeOptions={{ exact }}
                  className="flex h-9 items-center gap-2.5 rounded-lg px-2.5 text-sm font-medium text-ink-2 transition-colors hover:bg-sunken hover:text-ink aria-[current=page]:bg-accent-soft aria-[current=page]:text-accent"
                >
                  <Icon aria-hidden className="size-4" />
                  {label}
                </Link>
              ))}
            </nav>
            <div className="mt-auto grid gap-1">
              <AccountMenu />
            </div>
          </aside>

          <div className="flex min-h-dvh min-w-0 flex-col max-lg:pb-[calc(3.75rem+env(safe-area-inset-bottom))]">
            <header className="sticky top-0 z-30 flex h-14 items-center gap-2 border-b border-line bg-canvas/90 px-4 backdrop-blur-md lg:hidden">
              <Logo />
              <span className="mr-auto text-lg font-semibold tracking-[-0.015em]">Tendril</span>
              <LiveIndicator />
              <AccountMenu narrow />
            </header>
            <main id="main" tabIndex={-1} className="min-w-0 flex-1 outline-none">
              <Outlet />
            </main>
          </div>

          <nav
            aria-label="Main"
            className="fixed inset-x-0 bottom-0 z-30 grid grid-cols-2 border-t border-line bg-surface pb-[env(safe-area-inset-bottom)] lg:hidden"
          >
            {PAGES.map(({ to, label, icon: Icon, exact }) => (
              <Link
                key={to}
                to={to}
                activeOptions={{ exact }}
                className="flex h-15 flex-col items-center justify-center gap-1 text-2xs font-medium text-ink-2 aria-[current=page]:text-accent"
              >
                <Icon aria-hidden className="size-5" />
                {label}
              </Link>
            ))}
          </nav>
        </div>
        <Trouble />
      </TipProvider>
    </LiveProvider>
  );
}
