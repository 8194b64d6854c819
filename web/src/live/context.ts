import { createContext, use } from 'react';

import { INITIAL, type LiveState } from './state';

export const LiveContext = createContext<LiveState>(INITIAL);

export function useLive(): LiveState {
  return use(LiveContext);
}
