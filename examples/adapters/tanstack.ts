// A TanStack DB collection on a followed table: live queries over gormsync's rows,
// and mutations that work offline. Copy it into your application.
//
//   const todos = createCollection(gormsyncOptions<Todo>(client, 'todos', (todo) => todo.id));
import type { CollectionConfig } from '@tanstack/db';
import type { Client, Mutation } from 'gormsync-client';

type Sync<T extends object> = CollectionConfig<T, string>['sync']['sync'];

/** gormsyncOptions are the options of createCollection for one entity of a client; key gives the primary key as text. */
export function gormsyncOptions<T extends object>(client: Client, entity: string, key: (row: T) => string): CollectionConfig<T, string> {
  const rows = client.collection<T>(entity);

  const sync: Sync<T> = ({ begin, write, commit, markReady }) => {
    let known = new Map<string, T>();
    const end = rows.subscribe((all) => {
      const now = new Map(all.map((row) => [key(row), row]));
      begin();
      for (const [id, value] of now) {
        if (!known.has(id)) write({ type: 'insert', value });
        else if (known.get(id) !== value) write({ type: 'update', value });
      }
      for (const [id, value] of known) if (!now.has(id)) write({ type: 'delete', value });
      known = now;
      commit();
    });
    void client.ready.then(markReady);
    return end;
  };

  // A mutation is done when this device has it: gormsync shows it and takes it back if the server refuses it.
  const stored = (mutations: Mutation[]) => Promise.all(mutations.map(({ persisted }) => persisted));
  return {
    id: entity,
    getKey: key,
    sync: { sync, rowUpdateMode: 'full' },
    onInsert: ({ transaction }) => stored(transaction.mutations.map(({ key, modified }) => rows.insert(modified, key))),
    onUpdate: ({ transaction }) => stored(transaction.mutations.map(({ key, changes }) => rows.update(key, changes))),
    onDelete: ({ transaction }) => stored(transaction.mutations.map(({ key }) => rows.delete(key))),
  };
}
