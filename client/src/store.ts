import type { Cursors } from './follower';
import type { Entry, Held } from './outbox';

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
export class Store {
  /** Whether rows are kept; false when there is room for the edits only. */
  rows = true;
  readonly #name: string;
  #db: Promise<IDBDatabase> | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** load reads everything. */
  load(): Promise<Saved> {
    return this.#run(async (db) => {
      const tx = db.transaction(all);
      const [rows, outbox, cursors] = await Promise.all([
        result<Held[]>(tx.objectStore(rowsStore).getAll()),
        result<Entry[]>(tx.objectStore(outboxStore).getAll()),
        result<Cursors>(tx.objectStore(metaStore).get('cursors')),
      ]);
      return { rows, outbox, cursors: cursors ?? {} };
    });
  }

  /** outbox reads the edits. */
  outbox(): Promise<Entry[]> {
    return this.#run((db) => result(db.transaction(outboxStore).objectStore(outboxStore).getAll()));
  }

  /** clientID is this device's name, made once. */
  clientID(make: () => string): Promise<string> {
    return this.#run(async (db) => {
      const tx = db.transaction(metaStore, 'readwrite');
      const meta = tx.objectStore(metaStore);
      const id = (await result<string>(meta.get('client_id'))) ?? make();
      meta.put(id, 'client_id');
      await complete(tx);
      return id;
    });
  }

  /** add stores an edit; behind others of its row that are gone by now it gets a base. */
  async add(entry: Entry, follows: boolean): Promise<void> {
    let added: IDBRequest | undefined;
    await this.#write(follows ? all : [outboxStore], async (tx) => {
      const outbox = tx.objectStore(outboxStore);
      const key = [entry.entity, entry.id];
      if (follows && !(await result(outbox.index('row').count(key)))) entry.client_version = (await result<Held | undefined>(tx.objectStore(rowsStore).get(key)))?.version;
      added = outbox.add(entry);
    }, 'strict');
    entry.seq = added?.result as number; // not before it is safe
  }

  /** settle removes and changes edits, and stores what their rows are now. */
  settle(gone: readonly Entry[], moved: readonly Entry[], rows: readonly Held[]): Promise<void> {
    return this.#write(all, (tx) => {
      const outbox = tx.objectStore(outboxStore);
      for (const { seq } of gone) outbox.delete(seq as number);
      for (const entry of moved) outbox.put(entry);
      if (this.rows) for (const row of rows) tx.objectStore(rowsStore).put(row);
    });
  }

  /** page stores a part of the feed and the place behind it; of `whole` entities nothing else stays. Without `alone` another tab may be ahead. */
  page(rows: readonly Held[], cursors: Cursors, whole: readonly string[], alone: boolean): Promise<void> {
    return this.#write(all, async (tx) => {
      if (!this.rows) return;
      const store = tx.objectStore(rowsStore);
      for (const entity of whole) store.delete(IDBKeyRange.bound([entity], [entity, []]));
      for (const row of rows) {
        const held = !alone && (await result<Held | undefined>(store.get([row.entity, row.id])));
        if (!held || held.version <= row.version) store.put(row);
      }
      tx.objectStore(metaStore).put(cursors, 'cursors');
    });
  }

  /** clear forgets everything, also who this device is; or the rows and cursors only. */
  clear(names: readonly string[] = all): Promise<void> {
    return this.#write(all, (tx) => {
      for (const name of names) tx.objectStore(name).clear();
      tx.objectStore(metaStore).delete('cursors');
    });
  }

  /** close gives the connection back; the next call opens another one. */
  close(): void {
    void this.#db?.then((db) => db.close());
    this.#db = undefined;
  }

  /** When the disk is full, the rows make room: the server has them, the edits are here only. */
  async #write(names: string[], work: (tx: IDBTransaction) => void | Promise<void>, durability: IDBTransactionDurability = 'default'): Promise<void> {
    const write = () =>
      this.#run(async (db) => {
        const tx = db.transaction(names, 'readwrite', { durability });
        await Promise.all([complete(tx), work(tx)]);
      });
    try {
      await write();
    } catch (error) {
      if (!this.rows || !named(error, 'QuotaExceededError')) throw error;
      this.rows = false;
      await this.clear([rowsStore]);
      await write();
    }
  }

  /** A browser may close the connection at any time: Safari does in the background, and when site data are cleared. */
  async #run<T>(work: (db: IDBDatabase) => Promise<T>): Promise<T> {
    try {
      return await work(await (this.#db ??= this.#open()));
    } catch (error) {
      if (!named(error, 'InvalidStateError', 'UnknownError')) throw error;
      this.close();
      return work(await (this.#db = this.#open()));
    }
  }

  async #open(): Promise<IDBDatabase> {
    const request = indexedDB.open(this.#name, 1);
    request.onupgradeneeded = () => {
      const db = request.result;
      db.createObjectStore(rowsStore, { keyPath: ['entity', 'id'] });
      db.createObjectStore(outboxStore, { keyPath: 'seq', autoIncrement: true }).createIndex('row', ['entity', 'id']);
      db.createObjectStore(metaStore);
    };
    const db = await result(request);
    db.onversionchange = () => this.close(); // a newer page must not have to wait for this one
    db.onclose = () => (this.#db = undefined);
    return db;
  }
}
