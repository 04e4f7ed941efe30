import type { Cursors } from './follower.js';
import { move, type Entry, type Held, type Move } from './outbox.js';
import { newest } from './rows.js';

/** What a store holds. */
export interface Saved {
  rows: Held[];
  outbox: Entry[];
  cursors: Cursors;
}

const rowsStore = 'rows'; // the server's rows of all entities, as a log: see append
const outboxStore = 'outbox';
const metaStore = 'meta';
const all = [rowsStore, outboxStore, metaStore];

/** What a request found. */
function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((found, failed) => {
    request.onsuccess = () => found(request.result);
    request.onerror = () => failed(request.error);
  });
}

/** Every row of the log, also those in the way. */
const readLog = async (tx: IDBTransaction) => (await result<Held[][]>(tx.objectStore(rowsStore).getAll())).flat();

/**
 * append adds rows to the log, many in a record: IndexedDB takes as long for a
 * record of a hundred rows as for one of one. The newest of a row is its last
 * word, the others are in the way until the log is written anew.
 */
function append(log: IDBObjectStore, rows: readonly Held[]): void {
  for (let at = 0; at < rows.length; at += 100) log.add(rows.slice(at, at + 100));
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
  /** clientID is this device's name, made once. */
  clientID(make: () => string): Promise<string>;
  /** add stores an edit. An update or deletion without a base, and with no other edit of its row before it, is based on the row as it is stored. */
  add(entry: Entry): Promise<void>;
  /** settle removes edits, moves those behind them, and stores what their rows are now. */
  settle(gone: readonly Entry[], moves: readonly Move[], rows: readonly Held[]): Promise<void>;
  /**
   * page stores a part of the feed and the place behind it; of `whole` entities
   * nothing else stays. Without `alone` other tabs write too. Where the store
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
  // How many more rows may go into the log before a page writes it anew: so many that writing
  // it costs about as much as they did, and that hardly more than half of it is in the way.
  let room = 0;
  const ends: ((reason?: unknown) => void)[] = []; // what ends those who wait for a transaction, in their order

  async function open(): Promise<IDBDatabase> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      const db = request.result;
      const log = db.createObjectStore(rowsStore, { autoIncrement: true });
      const outbox = db.createObjectStore(outboxStore, { keyPath: 'seq', autoIncrement: true });
      outbox.createIndex('row', ['entity', 'id']);
      const meta = db.createObjectStore(metaStore);
      for (const entry of memory.outbox) if (entry.seq) outbox.put(entry);
      meta.put(memory.clientID, 'client_id');
      if (!store.rows) return;
      append(log, memory.everything().rows);
      meta.put(memory.cursors, 'cursors');
    };
    const db = await result(request);
    // A newer page must not have to wait for this one; and what was deleted is back before another page begins anew.
    const again = () => {
      close();
      store.outbox().catch(() => {});
    };
    db.onversionchange = again;
    db.onclose = () => {
      for (const end of ends) end(); // a transaction that is cut off may say nothing more
      again();
    };
    return db;
  }

  function close(): void {
    connection?.then((db) => db.close(), () => {});
    connection = undefined;
  }

  /**
   * A browser may close the connection at any time: Safari does in the background,
   * and all do when site data are cleared. What fails is tried again, over another
   * connection and after a pause, since the old one may still be being taken down.
   */
  async function run<T>(work: (db: IDBDatabase) => Promise<T>, tries = 3): Promise<T> {
    try {
      return await work(await (connection ??= open()));
    } catch (error) {
      if (!tries) throw error;
      close();
      await new Promise((done) => setTimeout(done, 300));
      return run(work, tries - 1);
    }
  }

  /**
   * Only a complete transaction is a promise kept: a full disk may show after each
   * request has succeeded. When the disk is full, the rows make room: the
   * server has them, the edits are here only.
   */
  async function write(work: (tx: IDBTransaction) => void | Promise<void>, options?: IDBTransactionOptions): Promise<void> {
    const once = () =>
      run(async (db) => {
        const tx = db.transaction(all, 'readwrite', options);
        const complete = new Promise((done, failed) => {
          ends.push(failed);
          tx.oncomplete = done;
          tx.onabort = () => failed(tx.error);
        }).finally(() => ends.shift());
        await Promise.all([complete, work(tx)]).catch((error) => {
          throw tx.error ?? error; // requests that are cut off know less
        });
      });
    try {
      await once();
    } catch (error) {
      if (!store.rows || (error as Error | null)?.name !== 'QuotaExceededError') throw error;
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
        const [log, outbox, cursors] = await Promise.all([
          readLog(tx),
          result<Entry[]>(tx.objectStore(outboxStore).getAll()),
          result<Cursors>(tx.objectStore(metaStore).get('cursors')),
        ]);
        const rows = newest(log);
        room = 100 + 2 * rows.length - log.length;
        return { rows, outbox, cursors: cursors ?? {} };
      }),
    outbox: () => run((db) => result(db.transaction(outboxStore).objectStore(outboxStore).getAll())),
    async clientID(make) {
      let id = '';
      await write(async (tx) => {
        const meta = tx.objectStore(metaStore);
        id = (await result<string | undefined>(meta.get('client_id'))) ?? make();
        meta.put(id, 'client_id');
      });
      return id;
    },
    async add(entry) {
      let added: IDBRequest | undefined;
      await write(async (tx) => {
        const outbox = tx.objectStore(outboxStore);
        const { entity, id, action, client_version } = entry;
        if (client_version === undefined && action !== 'create' && !(await result(outbox.index('row').count([entity, id])))) entry.client_version = newest(await readLog(tx)).find((row) => row.entity === entity && row.id === id)?.version;
        added = outbox.add(entry);
      }, { durability: 'strict' });
      entry.seq = added?.result as number; // not before it is safe
    },
    settle: (gone, moves, rows) =>
      write(async (tx) => {
        const outbox = tx.objectStore(outboxStore);
        for (const { seq } of gone) outbox.delete(seq as number);
        for (const to of moves) for (const entry of move(await result(outbox.index('row').getAll([to.entity, to.id])), to)) outbox.put(entry); // also what other tabs have just stored
        room -= rows.length;
        if (store.rows) append(tx.objectStore(rowsStore), rows);
      }),
    page: (rows, cursors, whole, alone) =>
      write(async (tx) => {
        if (!store.rows) return;
        const log = tx.objectStore(rowsStore);
        room -= rows.length;
        if (whole.length || room < 0) {
          const kept = (await readLog(tx)).filter(({ entity }) => !whole.includes(entity));
          rows = newest([...kept, ...rows]).filter(({ data }) => data || !alone || memory.outbox.length);
          room = 100 + rows.length;
          log.clear();
        }
        append(log, rows);
        const meta = tx.objectStore(metaStore);
        const stored = (await result<Cursors | undefined>(meta.get('cursors'))) ?? {};
        for (const entity in cursors) if (stored[entity] || whole.includes(entity)) stored[entity] = cursors[entity]!;
        meta.put(stored, 'cursors');
      }),
    clear: (names = all) =>
      write((tx) => {
        for (const name of names) tx.objectStore(name).clear();
        tx.objectStore(metaStore).delete('cursors');
      }),
  };
  return store;
}
