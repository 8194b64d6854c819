import { Link } from '@tanstack/react-router';
import { Compass } from 'lucide-react';

import { Empty, Failed } from '@/ui/Notice';

export function Missing() {
  return (
    <main className="grid min-h-dvh place-content-center">
      <Empty icon={Compass} title="There is no such page.">
        <Link to="/" className="font-medium text-accent underline underline-offset-4">
          To the overview
        </Link>
      </Empty>
    </main>
  );
}

export function PageFailed({ error, reset }: { error: unknown; reset: () => void }) {
  return (
    <main className="grid min-h-dvh place-content-center">
      <Failed error={error} retry={reset} />
    </main>
  );
}
