// src/react.ts
import { useCallback, useSyncExternalStore } from "react";
function useCollection(client, entity) {
  const collection = client.collection(entity);
  const subscribe = useCallback((changed) => collection.subscribe(changed), [collection]);
  const rows = () => collection.all();
  return useSyncExternalStore(subscribe, rows, rows);
}
export {
  useCollection
};
