import { useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useState } from 'react';

import { overviewQuery } from '@/api/queries';

/**
 * Business time: the clock that delays and windows go by. A demo runs it faster than the wall, so the page carries it
 * on from the last answer at the speed the gateway named.
 */
export interface BusinessClock {
  /** The business moment right now. */
  now: () => Date;
  /** Business seconds per second; 1 in real life. */
  speed: number;
  known: boolean;
}

export function useBusinessClock(): BusinessClock {
  const { data, dataUpdatedAt } = useQuery(overviewQuery);
  const anchor = data?.business_now;
  const speed = data?.speed ?? 1;
  const now = useCallback(() => {
    if (anchor === undefined) return new Date();
    return new Date(Date.parse(anchor) + (Date.now() - dataUpdatedAt) * speed);
  }, [anchor, dataUpdatedAt, speed]);
  return useMemo(() => ({ now, speed, known: anchor !== undefined }), [now, speed, anchor]);
}

/** Draws the caller again every `ms`, and answers the business time then. */
export function useTick(clock: BusinessClock, ms: number): Date {
  const [moment, setMoment] = useState(clock.now);
  useEffect(() => {
    const read = () => setMoment(clock.now());
    const first = setTimeout(read);
    const timer = setInterval(read, ms);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [clock, ms]);
  return moment;
}
