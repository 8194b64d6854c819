import type { ComponentProps } from 'react';

import { cx } from './cx';

const BASE =
  'inline-flex shrink-0 items-center justify-center gap-1.5 rounded-lg font-medium whitespace-nowrap transition-colors duration-150 disabled:opacity-55 [&_svg]:size-4 [&_svg]:shrink-0';
const LOOKS = {
  primary: 'bg-accent text-accent-ink hover:bg-accent-hover',
  secondary: 'border border-line bg-surface text-ink hover:bg-sunken',
  quiet: 'text-ink-2 hover:bg-sunken hover:text-ink',
};
const SIZES = { sm: 'h-7 px-2.5 text-xs', md: 'h-9 px-3.5 text-sm', lg: 'h-10 px-4 text-base' };

interface Props extends ComponentProps<'button'> {
  look?: keyof typeof LOOKS;
  size?: keyof typeof SIZES;
}

export function Button({ look = 'secondary', size = 'md', className, type = 'button', ...rest }: Props) {
  return <button type={type} className={cx(BASE, LOOKS[look], SIZES[size], className)} {...rest} />;
}

/** A square button that shows only an icon; `label` is what it is called. */
export function IconButton({ label, className, ...rest }: Props & { label: string }) {
  return (
    <Button
      look="quiet"
      aria-label={label}
      title={label}
      className={cx('size-9 px-0', className)}
      {...rest}
    />
  );
}
