import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, Outlet, useParams } from '@tanstack/react-router';
import { Inbox } from 'lucide-react';

import type { MailboxItem } from '@/api/client';
import { mailboxQuery } from '@/api/queries';
import { PageHeader } from '@/app/PageHeader';
import { clockTime, shortDay } from '@/format/format';
import { Button } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Empty, Failed } from '@/ui/Notice';
import { Skeleton } from '@/ui/Skeleton';

/** Every message that went out, as its reader would find it. */
export function MailboxPage() {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } =
    useInfiniteQuery(mailboxQuery);
  const reading = useParams({ strict: false }).messageId !== undefined;
  const items = data?.pages.flatMap((page) => page.items);

  return (
    <div className="flex h-[calc(100dvh-3.5rem-3.75rem-env(safe-area-inset-bottom))] flex-col lg:h-dvh">
      <div className={cx('border-b border-line px-4 py-3.5 lg:px-6', reading && 'max-lg:hidden')}>
        <PageHeader title="Demo mailbox" />
      </div>
      <div className="grid min-h-0 flex-1 lg:grid-cols-[23rem_minmax(0,1fr)]">
        <nav
          aria-label="Messages"
          aria-busy={items === undefined}
          className={cx(
            'min-h-0 overflow-y-auto border-line bg-surface lg:border-r',
            reading && 'max-lg:hidden',
          )}
        >
          {error && !items ? (
            <Failed error={error} retry={() => void refetch()} />
          ) : items === undefined ? (
            <Loading />
          ) : items.length === 0 ? (
            <Empty icon={Inbox} title="No messages yet" className="py-20">
              Whatever the demo sends arrives here, as its reader would find it.
            </Empty>
          ) : (
            <>
              <ul>
                {items.map((item) => (
                  <Entry key={item.id} item={item} />
                ))}
              </ul>
              {hasNextPage && (
                <div className="p-3 text-center">
                  <Button size="sm" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
                    {isFetchingNextPage ? 'Reading' : 'Older messages'}
                  </Button>
                </div>
              )}
            </>
          )}
        </nav>
        <div className={cx('min-h-0 min-w-0', !reading && 'max-lg:hidden')}>
          <Outlet />
        </div>
      </div>
    </div>
  );
}

const WHEN = 'text-right text-xs text-ink-3 tabular in-aria-[current=page]:text-ink-2';

function Entry({ item }: { item: MailboxItem }) {
  const at = new Date(item.at);
  return (
    <li>
      <Link
        to="/mailbox/$messageId"
        params={{ messageId: item.id }}
        preload={false}
        data-testid="mailbox-item"
        className="block border-b border-line px-4 py-2.5 transition-colors hover:bg-sunken focus-visible:-outline-offset-2 aria-[current=page]:bg-accent-soft lg:px-6"
      >
        <span className="grid grid-cols-[minmax(0,1fr)_auto] items-baseline gap-x-3 gap-y-0.5 text-sm">
          <span className="truncate font-medium">{item.to}</span>
          <time dateTime={item.at} className={WHEN}>
            {clockTime(at)}
          </time>
          <span className="truncate text-ink-2">{item.subject === '' ? 'No subject' : item.subject}</span>
          <span className={WHEN}>{shortDay(at)}</span>
        </span>
      </Link>
    </li>
  );
}

function Loading() {
  return Array.from({ length: 10 }, (_, at) => (
    <div key={at} className="grid gap-2.5 border-b border-line px-4 py-3.5 lg:px-6">
      <Skeleton className="w-2/5" />
      <Skeleton className="h-2.5 w-4/5" />
    </div>
  ));
}
