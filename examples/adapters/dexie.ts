// A Dexie table that mirrors a followed table, for applications whose queries are
// Dexie's: liveQuery, where, orderBy work as ever. Edits go through gormsync.
// Copy it into your application.
//
//   const db = new Dexie('app'); db.version(1).stores({ todos: 'id, done' });
//   const todos = mirror<Todo>(client, 'todos', db.table('todos'), (todo) => todo.id);
import type { Table } from 'dexie';
import type { Client, Mutation } from 'gormsync-client';

/** What takes the place of the table's own add, update and delete. */
export interface Mirror<T> {
  add(row: T): Mutation;
  update(id: string, fields: Partial<T>): Mutation;
  delete(id: string): Mutation;
  /** Fulfilled when the table has everything that gormsync shows now. */
  settled(): Promise<void>;
  end(): void;
}

/** mirror keeps a Dexie table as gormsync's rows are; its key must be the primary key as text. */
export function mirror<T extends object>(client: Client, entity: string, table: Table<T, string>, key: (row: T) => string): Mirror<T> {
  const rows = client.collection<T>(entity);
  let last: Promise<unknown> = client.ready;
  const changed = (ids: readonly string[]) => {
    last = last.then(async () => {
      const now = ids.map((id) => [id, rows.get(id)] as const);
      await table.db.transaction('rw', table, () => Promise.all([
        table.bulkPut(now.flatMap(([, row]) => row ?? [])),
        table.bulkDelete(now.filter(([, row]) => !row).map(([id]) => id)),
      ]));
    });
  };
  const off = client.on('change', (event) => event.entity === entity && changed(event.ids));
  // What changed while no page was open.
  void client.ready.then(async () => changed([...(await table.toCollection().primaryKeys()), ...rows.all().map(key)]));
  return {
    add: (row) => rows.insert(row, key(row)),
    update: (id, fields) => rows.update(id, fields),
    delete: (id) => rows.delete(id),
    settled: async () => void (await last),
    end: off,
  };
}
