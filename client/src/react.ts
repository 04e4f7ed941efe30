// A hook for React, apart from the core: import { useCollection } from 'gormsync-client/react'.
import { useCallback, useSyncExternalStore } from 'react';
import type { Client } from './client.js';
import type { Row } from './wire.js';

/** useCollection gives the rows of a followed table, and draws anew when they change. */
export function useCollection<T extends object = Row>(client: Client, entity: string): readonly T[] {
  const collection = client.collection<T>(entity);
  const subscribe = useCallback((changed: () => void) => collection.subscribe(changed), [collection]);
  const rows = () => collection.all();
  return useSyncExternalStore(subscribe, rows, rows);
}
