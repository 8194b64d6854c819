import { cx } from '@/ui/cx';

export function Logo({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" fill="none" aria-hidden className={cx('size-7', className)}>
      <rect width="32" height="32" rx="8" fill="#1c6b50" />
      <path
        d="M10 26c0-9 2.5-12.5 7-14.5 3.4-1.5 6.2-.2 6.2 2.6 0 2.4-1.9 3.9-4 3.9-1.8 0-3-1.2-3-2.7 0-1.2.9-2.1 2-2.1"
        stroke="#e9f6ef"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
      <path d="M11 16.5c-3-.6-4.6-2.7-4.7-6.5 3.6.1 5.5 2 5.7 5" fill="#9fe0bf" />
    </svg>
  );
}
