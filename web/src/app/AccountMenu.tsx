import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { ChevronsUpDown, LogOut, Monitor, Moon, Sun } from 'lucide-react';

import { meQuery } from '@/api/queries';
import { session } from '@/auth/session';
import { initials, words } from '@/format/format';
import { cx } from '@/ui/cx';
import { Menu, MenuItem, MenuLabel, MenuLine, MenuRadio, MenuRadioGroup } from '@/ui/Menu';
import { Skeleton } from '@/ui/Skeleton';

import { chooseTheme, useThemeChoice, type ThemeChoice } from './theme';

const THEMES = [
  { value: 'system', label: 'As the system', icon: Monitor },
  { value: 'light', label: 'Light', icon: Sun },
  { value: 'dark', label: 'Dark', icon: Moon },
] as const;

/** Who is signed in, the theme, and the way out. `narrow` shows the disc alone. */
export function AccountMenu({ narrow = false }: { narrow?: boolean }) {
  const { data: me } = useQuery(meQuery);
  const theme = useThemeChoice();
  const client = useQueryClient();
  const navigate = useNavigate();
  // A member without a name has an empty one, an API key no address.
  const name = me && (me.name || me.email || me.id);

  const signOut = () => {
    session.signOut();
    void navigate({ to: '/sign-in' }).then(() => client.clear());
  };

  return (
    <Menu
      label="Account"
      side={narrow ? 'bottom' : 'top'}
      align={narrow ? 'end' : 'start'}
      trigger={
        <button
          type="button"
          className={cx(
            'flex items-center gap-2.5 rounded-lg text-left transition-colors hover:bg-sunken data-[state=open]:bg-sunken',
            narrow ? 'size-9 justify-center' : 'h-12 w-full px-2',
          )}
        >
          <span className="sr-only">Account</span>
          <span
            aria-hidden
            className="grid size-7 shrink-0 place-items-center rounded-full bg-accent-soft text-2xs font-semibold text-accent"
          >
            {name === undefined ? '' : initials(name)}
          </span>
          {!narrow && (
            <>
              <span className="grid min-w-0 flex-1 gap-px">
                {me === undefined ? (
                  <>
                    <Skeleton className="w-24" />
                    <Skeleton className="mt-1 h-2.5 w-14" />
                  </>
                ) : (
                  <>
                    <span className="truncate text-sm font-medium">{name}</span>
                    <span className="truncate text-2xs text-ink-3">
                      {words(me.role)} · {me.organization_id}
                    </span>
                  </>
                )}
              </span>
              <ChevronsUpDown aria-hidden className="size-3.5 text-ink-3" />
            </>
          )}
        </button>
      }
    >
      <MenuLabel>{me?.email ?? 'Account'}</MenuLabel>
      <MenuLine />
      <MenuLabel>Theme</MenuLabel>
      <MenuRadioGroup value={theme} onValueChange={(value) => chooseTheme(value as ThemeChoice)}>
        {THEMES.map(({ value, label, icon: Icon }) => (
          <MenuRadio key={value} value={value}>
            <Icon aria-hidden /> {label}
          </MenuRadio>
        ))}
      </MenuRadioGroup>
      <MenuLine />
      <MenuItem onSelect={signOut}>
        <LogOut aria-hidden /> Sign out
      </MenuItem>
    </Menu>
  );
}
