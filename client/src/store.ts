import type { Cursors } from './follower.js';
import type { Entry, Held } from './outbox.js';

/** What a store holds. */
export interface Saved {
  rows: Held[];
  outbox: Entry[];
  cursors: Cursors;
}

const rowsStore = 'rows'; // the server's rows of all entities: one more entity needs no other version of the database
const outboxStore = 'outbox';
const metaStore = 'meta';
const all = [rowsStore, outboxStore, metaStore];

const named = (error: unknown, ...names: string[]) => names.includes((error as Error)?.name);

/** What a request found. */
function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((found, failed) => {
    request.onsuccess = () => found(request.result);
    request.onerror = () => failed(request.error);
  });
}

/** Only a complete transaction is a promise kept: a full disk may show after each request has succeeded. */
function complete(tx: IDBTransaction): Promise<void> {
  return new Promise((done, failed) => {
    tx.oncomplete = () => done();
    tx.onabort = () => failed(tx.error);
  });
}

/**
 * Store keeps rows, edits and cursors in IndexedDB. What a method wrote is safe
 * when its promise is fulfilled: an edit even from a crash of the machine.
 */
export interface Store {
  /** Whether rows are kept; false when there is room for the edits only. */
  rows: boolean;
  /** load reads everything. */
  load(): Promise<Saved>;
  /** outbox reads the edits. */
  outbox(): Promise<Entry[]>;
  /** has tells whether an edit is still there: 1, or else 0. */
  has(entry: Entry): Promise<number>;
  /** clientID is this device's name, made once. */
  clientID(make: () => string): Promise<string>;
  /** add stores an edit; behind others of its row that are gone by now it gets a base. */
  add(entry: Entry, follows: boolean): Promise<void>;
  /** settle removes and changes edits, and stores what their rows are now. */
  settle(gone: readonly Entry[], moved: readonly Entry[], rows: readonly Held[]): Promise<void>;
  /**
   * page stores a part of the feed and the place behind it; of `whole` entities
   * nothing else stays. Without `alone` another tab may be ahead. Where the store
   * has no place it lacks the rows before this one too: a browser that deleted it
   * left an empty one.
   */
  page(rows: readonly Held[], cursors: Cursors, whole: readonly string[], alone: boolean): Promise<void>;
  /** clear forgets everything, also who this device is; or the rows and cursors only. */
  clear(names?: readonly string[]): Promise<void>;
  /** close gives the connection back; the next call opens another one. */
  close(): void;
}

/** What a tab knows, should the browser delete the database under it. */
export interface Memory {
  readonly clientID: string;
  readonly outbox: readonly Entry[];
  readonly cursors: Cursors;
  everything(): { rows: Held[] };
}

/** newStore opens the database of that name when it is used. */
export function newStore(name: string, memory: Memory): Store {
  let connection: Promise<IDBDatabase> | undefined;

  async function open(): Promise<IDBDatabase> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      const db = request.result;
      const rows = db.createObjectStore(rowsStore, { keyPath: ['entity', 'id'] });
      const outbox = db.createObjectStore(outboxStore, { keyPath: 'seq', autoIncrement: true });
      outbox.createIndex('row', ['entity', 'id']);
      const meta = db.createObjectStore(metaStore);
      for (const entry of memory.outbox) if (entry.seq) outbox.put(entry);
      meta.put(memory.clientID, 'client_id');
      if (!store.rows) return;
      for (const row of memory.everything().rows) rows.put(row);
      meta.put(memory.cursors, 'cursors');
    };
    const db = await result(request);
    // A newer page must not have to wait for this one; and what was deleted is back before another page begins anew.
    db.onversionchange = db.onclose = () => {
      close();
      store.outbox().catch(() => {});
    };
    return db;
  }

  function close(): void {
    connection?.then((db) => db.close(), () => {});
    connection = undefined;
  }

  /** A browser may close the connection at any time: Safari does in the background, and when site data are cleared. */
  async function run<T>(work: (db: IDBDatabase) => Promise<T>): Promise<T> {
    try {
      return await work(await (connection ??= open()));
    } catch (error) {
      if (!named(error, 'InvalidStateError', 'UnknownError')) throw error;
      close();
      return work(await (connection = open()));
    }
  }

  /** When the disk is full, the rows make room: the server has them, the edits are here only. */
  async function write(names: readonly string[], work: (tx: IDBTransaction) => void | Promise<void>, durability: IDBTransactionDurability = 'default'): Promise<void> {
    const once = () =>
      run(async (db) => {
        const tx = db.transaction(names, 'readwrite', { durability });
        await Promise.all([complete(tx), work(tx)]);
      });
    try {
      await once();
    } catch (error) {
      if (!store.rows || !named(error, 'QuotaExceededError')) throw error;
      store.rows = false;
      await store.clear([rowsStore]);
      await once();
    }
  }

  const store: Store = {
    rows: true,
    close,
    load: () =>
      run(async (db) => {
        const tx = db.transaction(all);
        const [rows, outbox, cursors] = await Promise.all([
          result<Held[]>(tx.objectStore(rowsStore).getAll()),
          result<Entry[]>(tx.objectStore(outboxStore).getAll()),
          result<Cursors>(tx.objectStore(metaStore).get('cursors')),
        ]);
        return { rows, outbox, cursors: cursors ?? {} };
      }),
    outbox: () => run((db) => result(db.transaction(outboxStore).objectStore(outboxStore).getAll())),
    has: ({ seq }) => run((db) => result(db.transaction(outboxStore).objectStore(outboxStore).count(seq))),
    clientID: (make) =>
      run(async (db) => {
        const tx = db.transaction(metaStore, 'readwrite');
        const meta = tx.objectStore(metaStore);
        const id = (await result<string>(meta.get('client_id'))) ?? make();
        meta.put(id, 'client_id');
        await complete(tx);
        return id;
      }),
    async add(entry, follows) {
      let added: IDBRequest | undefined;
      await write(follows ? all : [outboxStore], async (tx) => {
        const outbox = tx.objectStore(outboxStore);
        const key = [entry.entity, entry.id];
        if (follows && !(await result(outbox.index('row').count(key)))) entry.client_version = (await result<Held | undefined>(tx.objectStore(rowsStore).get(key)))?.version;
        added = outbox.add(entry);
      }, 'strict');
      entry.seq = added?.result as number; // not before it is safe
    },
    settle: (gone, moved, rows) =>
      write(all, (tx) => {
        const outbox = tx.objectStore(outboxStore);
        for (const { seq } of gone) outbox.delete(seq as number);
        for (const entry of moved) outbox.put(entry);
        if (store.rows) for (const row of rows) tx.objectStore(rowsStore).put(row);
      }),
    page: (rows, cursors, whole, alone) =>
      write(all, async (tx) => {
        if (!store.rows) return;
        const table = tx.objectStore(rowsStore);
        for (const entity of whole) table.delete(IDBKeyRange.bound([entity], [entity, []]));
        for (const row of rows) {
          const key = [row.entity, row.id];
          const held = !alone && (await result<Held | undefined>(table.get(key)));
          if (alone && !row.data) table.delete(key);
          else if (!held || held.version <= row.version) table.put(row);
        }
        const meta = tx.objectStore(metaStore);
        const stored = (await result<Cursors | undefined>(meta.get('cursors'))) ?? {};
        meta.put(Object.fromEntries(Object.entries(cursors).filter(([entity]) => stored[entity] || whole.includes(entity))), 'cursors');
      }),
    clear: (names = all) =>
      write(all, (tx) => {
        for (const name of names) tx.objectStore(name).clear();
        tx.objectStore(metaStore).delete('cursors');
      }),
  };
  return store;
}
