import { cx } from './cx';

/** A grey bar in the place of text that is on its way. Hidden from screen readers: the list around it says it is busy. */
export function Skeleton({ className }: { className?: string }) {
  return <span aria-hidden className={cx('block h-3 animate-shimmer rounded bg-line', className)} />;
}
