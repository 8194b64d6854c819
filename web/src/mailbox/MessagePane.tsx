import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { ArrowLeft } from 'lucide-react';
import { Tabs } from 'radix-ui';

import { messageQuery } from '@/api/queries';
import { moment } from '@/format/format';
import { Failed } from '@/ui/Notice';
import { Skeleton } from '@/ui/Skeleton';

import { framed } from './framed';
import { headerPairs } from './headers';

const TAB =
  'h-8 border-b-2 border-transparent px-1 text-sm font-medium text-ink-2 hover:text-ink data-[state=active]:border-accent data-[state=active]:text-ink';

/** One message as it went out. Its HTML is shown in a frame that may run nothing, send nothing and reach nothing of this page. */
export function MessagePane() {
  const { messageId } = useParams({ from: '/shell/mailbox/$messageId' });
  const { data: message, error, refetch } = useQuery(messageQuery(messageId));

  return (
    <article aria-label="Message" className="flex h-full flex-col bg-canvas">
      <header className="px-4 pt-3 lg:px-6 lg:pt-5">
        <Link
          to="/mailbox"
          className="mb-2 inline-flex h-8 items-center gap-1.5 text-sm font-medium text-ink-2 hover:text-ink lg:hidden"
        >
          <ArrowLeft aria-hidden className="size-4" /> Messages
        </Link>
        {error ? (
          <Failed error={error} retry={() => void refetch()} />
        ) : message === undefined ? (
          <div aria-busy className="grid gap-3 pb-6">
            <Skeleton className="h-5 w-3/5" />
            <Skeleton className="w-2/5" />
            <Skeleton className="w-1/3" />
          </div>
        ) : (
          <>
            <h2 className="text-lg font-semibold tracking-[-0.01em] text-balance lg:text-xl">
              {message.subject}
            </h2>
            <dl className="mt-2 mb-3 grid grid-cols-[auto_minmax(0,1fr)] gap-x-3 gap-y-0.5 text-sm">
              <dt className="text-ink-3">From</dt>
              <dd className="truncate">{message.from}</dd>
              <dt className="text-ink-3">To</dt>
              <dd className="truncate">{message.to}</dd>
              <dt className="text-ink-3">Sent</dt>
              <dd>{moment(new Date(message.at))}</dd>
            </dl>
          </>
        )}
      </header>
      {message && (
        <Tabs.Root
          key={message.id}
          defaultValue={message.html === null ? 'text' : 'html'}
          className="flex min-h-0 flex-1 flex-col"
        >
          <Tabs.List
            aria-label="Forms of the message"
            className="flex gap-5 border-b border-line px-4 lg:px-6"
          >
            {message.html !== null && (
              <Tabs.Trigger value="html" className={TAB}>
                Message
              </Tabs.Trigger>
            )}
            <Tabs.Trigger value="text" className={TAB}>
              Text
            </Tabs.Trigger>
            <Tabs.Trigger value="headers" className={TAB}>
              Headers
            </Tabs.Trigger>
          </Tabs.List>
          {message.html !== null && (
            <Tabs.Content value="html" className="min-h-0 flex-1 p-4 lg:p-6">
              <iframe
                title={`Message: ${message.subject}`}
                sandbox=""
                referrerPolicy="no-referrer"
                srcDoc={framed(message.html)}
                className="size-full rounded-card bg-white shadow-card"
              />
            </Tabs.Content>
          )}
          <Tabs.Content value="text" className="min-h-0 flex-1 overflow-auto p-4 lg:p-6">
            <pre className="max-w-180 font-sans text-sm leading-relaxed whitespace-pre-wrap">
              {message.text ?? 'This message has no text form.'}
            </pre>
          </Tabs.Content>
          <Tabs.Content value="headers" className="min-h-0 flex-1 overflow-auto p-4 lg:p-6">
            <dl className="grid gap-x-4 gap-y-1 font-mono text-xs sm:grid-cols-[12rem_minmax(0,1fr)]">
              {headerPairs(message.headers).map(([name, value], at) => (
                <div key={at} className="contents">
                  <dt className="text-ink-3">{name}</dt>
                  <dd className="mb-1 wrap-anywhere">{value}</dd>
                </div>
              ))}
            </dl>
          </Tabs.Content>
        </Tabs.Root>
      )}
    </article>
  );
}
