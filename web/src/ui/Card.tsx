import type { ComponentProps, ReactNode } from 'react';

import { cx } from './cx';

export const CARD = 'min-w-0 rounded-card bg-surface shadow-card';

export function Card({ className, ...rest }: ComponentProps<'section'>) {
  return <section className={cx(CARD, className)} {...rest} />;
}

export function CardHeader({
  id,
  title,
  note,
  children,
}: {
  id: string;
  title: string;
  note?: ReactNode;
  children?: ReactNode;
}) {
  return (
    <header className="flex min-h-12 flex-wrap items-center gap-x-3 gap-y-2 px-4 py-2.5">
      <div className="mr-auto flex min-w-0 items-baseline gap-2">
        <h2 id={id} className="text-base font-semibold tracking-[-0.005em]">
          {title}
        </h2>
        {note !== undefined && <span className="truncate text-xs text-ink-3">{note}</span>}
      </div>
      {children}
    </header>
  );
}
