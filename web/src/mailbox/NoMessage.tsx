import { MailOpen } from 'lucide-react';

import { Empty } from '@/ui/Notice';

export function NoMessage() {
  return (
    <Empty icon={MailOpen} title="Choose a message" className="h-full">
      It is shown as it went out: headers, HTML and text.
    </Empty>
  );
}
