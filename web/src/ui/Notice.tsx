import { CircleAlert, RefreshCw, type LucideIcon } from 'lucide-react';
import type { ReactNode } from 'react';

import { asProblem } from '@/api/problem';

import { Button } from './Button';
import { cx } from './cx';

/** What stands in a list that has nothing in it. */
export function Empty({
  icon: Icon,
  title,
  children,
  className,
}: {
  icon: LucideIcon;
  title: string;
  children?: ReactNode;
  className?: string;
}) {
  return (
    <div className={cx('flex flex-col items-center justify-center gap-1 px-6 py-10 text-center', className)}>
      <span className="mb-2 grid size-9 place-items-center rounded-full bg-sunken text-ink-3">
        <Icon aria-hidden className="size-4.5" />
      </span>
      <p className="text-sm font-medium">{title}</p>
      {children !== undefined && <p className="max-w-72 text-sm text-balance text-ink-2">{children}</p>}
    </div>
  );
}

/** What stands in a list that could not be read. */
export function Failed({
  error,
  retry,
  className,
}: {
  error: unknown;
  retry?: () => void;
  className?: string;
}) {
  const problem = asProblem(error);
  return (
    <div
      role="alert"
      className={cx('flex flex-col items-center justify-center gap-1 px-6 py-10 text-center', className)}
    >
      <span className="mb-2 grid size-9 place-items-center rounded-full bg-bad-soft text-bad">
        <CircleAlert aria-hidden className="size-4.5" />
      </span>
      <p className="text-sm font-medium">{problem.title}</p>
      {problem.detail !== undefined && (
        <p className="max-w-80 text-sm text-balance text-ink-2">{problem.detail}</p>
      )}
      {problem.retryAfterSeconds !== undefined && problem.retryAfterSeconds > 0 && (
        <p className="text-xs text-ink-3">Worth trying again in {problem.retryAfterSeconds} s.</p>
      )}
      {retry && (
        <Button size="sm" className="mt-3" onClick={retry}>
          <RefreshCw aria-hidden className="size-3.5" /> Try again
        </Button>
      )}
    </div>
  );
}
