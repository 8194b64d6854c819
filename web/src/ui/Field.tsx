import { useId, type ComponentProps } from 'react';

import { cx } from './cx';

/** A labelled input; `error` is shown below it and read with it. */
export function Field({
  label,
  error,
  className,
  ...rest
}: ComponentProps<'input'> & { label: string; error?: string | undefined }) {
  const id = useId();
  const errorId = `${id}-error`;
  return (
    <div className={cx('grid gap-1.5', className)}>
      <label htmlFor={id} className="text-sm font-medium">
        {label}
      </label>
      <input
        id={id}
        aria-invalid={error !== undefined}
        aria-describedby={error === undefined ? undefined : errorId}
        className="h-10 w-full rounded-lg border border-line-strong bg-surface px-3 text-base text-ink placeholder:text-ink-3 aria-invalid:border-bad"
        {...rest}
      />
      {error !== undefined && (
        <p id={errorId} className="text-xs text-bad">
          {error}
        </p>
      )}
    </div>
  );
}
