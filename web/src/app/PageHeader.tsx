import { useEffect, type ReactNode } from 'react';

import { LiveIndicator } from './LiveIndicator';

/** A page's name, what belongs beside it, and the live indicator on a desk (a phone has it in the bar above). */
export function PageHeader({ title, children }: { title: string; children?: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Tendril`;
  }, [title]);
  return (
    <header className="flex min-h-8 flex-wrap items-center gap-x-3 gap-y-1">
      <h1 className="mr-auto text-xl font-semibold tracking-[-0.018em]">{title}</h1>
      {children}
      <LiveIndicator className="max-lg:hidden" />
    </header>
  );
}
