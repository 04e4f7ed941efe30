import type { Cursors } from './follower.js';
import { move, settle, type Entry, type Held, type Outcome } from './outbox.js';
import { newest, Rows, same } from './rows.js';
import { newStore, type Store } from './store.js';
import type { Action, Change, PushResult, Row, Snapshot } from './wire.js';

/** Who changed a row: somebody else, this tab, or another tab of this browser. */
export type Source = 'remote' | 'local' | 'tab';

/** What one tab tells the others after it wrote to their common store. */
export interface Written {
  rows?: Held[];
  /** Entities of which no other row is left. */
  whole?: string[];
  /** The place behind these rows. */
  cursors?: Cursors;
  /** The outbox is another one. */
  outbox?: true;
  outcomes?: Outcome[];
}

/** What a replica tells its owner. */
export interface ReplicaEvents {
  changed(entity: string, ids: string[], source: Source): void;
  /** The number of edits on their way. */
  pending(count: number): void;
  outcome(outcome: Outcome): void;
  written(written: Written): void;
}

/** uuid is a random one; crypto.randomUUID is there in secure contexts only. */
export function uuid(): string {
  return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (c) => (+c ^ (crypto.getRandomValues(new Uint8Array(1))[0]! & (15 >> (+c / 4)))).toString(16));
}

/**
 * Replica is this tab's copy of the store, which all tabs share. Rows are
 * written by the leader only, edits by every tab. What the server sent is shown
 * when it is stored, an edit at once.
 */
export class Replica {
  /** Names this device to the server. */
  clientID = uuid();
  cursors: Cursors = {};
  outbox: readonly Entry[] = [];
  /** Whether no other tab writes rows. */
  alone = true;
  readonly #name: string;
  readonly #events: ReplicaEvents;
  #store: Store | undefined;
  #opened: Promise<void> | undefined;
  #tables = new Map<string, Rows>();
  #last: Promise<unknown> = Promise.resolve();
  #refresh: Promise<void> | undefined;
  /** Counts how often the outbox was read. */
  #reads = 0;
  /** What the feed brought and the store has not begun to take in. */
  #batch: { changes: Change[]; cursors: Cursors } | undefined;
  /** Counts the times that this tab gave up leading: what was begun before is not written any more. */
  #reign = 0;
  /** Rows that pushes brought while snapshots were being taken, which may be older. */
  #pushed: Held[] = [];

  constructor(
    name: string,
    events: ReplicaEvents,
  ) {
    this.#name = name;
    this.#events = events;
  }

  /** Whether edits survive the page: false without IndexedDB. */
  get persistent(): boolean {
    return !!this.#store;
  }

  /** Whether another tab could show the rows from the store. */
  get shared(): boolean {
    return !!this.#store?.rows;
  }

  /** table is the rows of an entity. */
  table(entity: string): Rows {
    let rows = this.#tables.get(entity);
    if (!rows) this.#tables.set(entity, (rows = new Rows()));
    return rows;
  }

  /** open finds out whether there is a store. */
  open(): Promise<void> {
    return (this.#opened = Promise.resolve(this.#opened).then(() => this.#open()));
  }

  async #open(): Promise<void> {
    const store = newStore(this.#name, this);
    try {
      this.clientID = await Promise.race([store.clientID(uuid), late()]);
      this.#store = store;
    } catch (error) {
      this.#without(error);
    }
  }

  /** load takes over what is stored. A store that cannot be read is not used. */
  load(): Promise<void> {
    return this.#serially(async () => {
      try {
        const saved = this.shared && (await this.#store?.load());
        if (!saved) return;
        this.cursors = saved.cursors;
        if (Object.keys(saved.cursors).length) this.#put(saved.rows, [...this.#tables.keys()], 'tab');
        await this.#reread();
      } catch (error) {
        this.#without(error);
      }
    });
  }

  /** written takes over what another tab wrote. */
  async written({ rows, whole = [], cursors, outbox, outcomes }: Written): Promise<void> {
    if (rows)
      await this.#serially(async () => {
        if (cursors) this.cursors = cursors;
        this.#put(rows, whole, 'remote', 'tab');
      });
    if (outbox) await this.refresh();
    outcomes?.forEach((outcome) => this.#events.outcome(outcome));
  }

  /** refresh reads the outbox, which every tab writes: the store alone knows the order. One that waits for its turn does for all. */
  refresh(): Promise<void> {
    return (this.#refresh ??= this.#serially(() => {
      this.#refresh = undefined;
      return this.#reread();
    }));
  }

  /** everything is what a tab needs that cannot read it from the store. */
  everything(): { rows: Held[] } & Written {
    const whole = [...this.#tables.keys()];
    return { whole, cursors: this.cursors, rows: whole.flatMap((entity) => [...this.table(entity).known()]) };
  }

  /** loading: snapshots are being taken from now on. */
  loading(): void {
    this.#pushed = [];
  }

  /** replace puts snapshots in the place of all rows of their entities. */
  replace(snapshots: readonly Snapshot[], cursors: Cursors): Promise<void> {
    this.#batch = undefined; // what comes now comes after it
    return this.#leading(async () => {
      const rows = newest([...snapshots.flatMap(({ changes }) => changes.map(toHeld)), ...this.#pushed]);
      await this.#page(rows, snapshots.map(({ entity }) => entity), cursors);
    });
  }

  /** apply takes changes of the feed. Those that come while the store is busy are stored together. */
  apply(changes: readonly Change[], cursors: Cursors): Promise<void> {
    this.loading(); // not any more: nothing comes while one loads
    if (this.#batch) {
      for (const change of changes) this.#batch.changes.push(change);
      this.#batch.cursors = cursors;
      return this.#last as Promise<void>;
    }
    const batch = (this.#batch = { changes: [...changes], cursors });
    return this.#leading(async () => {
      if (this.#batch === batch) this.#batch = undefined;
      const rows = newest(batch.changes.map(toHeld)).filter((row) => row.version >= (this.table(row.entity).held(row.id)?.version ?? 0));
      await this.#page(rows, [], batch.cursors);
    });
  }

  /** edit queues an edit. Its promise is fulfilled when it is stored. */
  edit(entity: string, action: Action, id: string, data: Row | null): { entry: Entry; stored: Promise<void> } {
    const entry: Entry = { mutation_id: uuid(), entity, id, action, data, timestamp: new Date().toISOString() };
    const table = this.table(entity);
    this.#base(entry);
    const before = table.get(id);
    this.outbox = [...this.outbox, entry];
    table.add(entry); // and not all of them anew: there may be thousands
    if (!same(before, table.get(id))) this.#events.changed(entity, [id], 'local');
    this.#events.pending(this.outbox.length);
    return { entry, stored: this.#add(entry) };
  }

  /** settle takes the server's answers to pushed edits. */
  settle(sent: readonly Entry[], results: readonly PushResult[]): Promise<void> {
    return this.#serially(async () => {
      const { gone, moves, rows, outcomes } = settle(this.outbox, sent, results);
      const own = rows.map((row) => ({ ...row, by: this.clientID }));
      this.#pushed.push(...own);
      await this.#store?.settle(gone, moves, own);
      const ids = new Set(gone.map((entry) => entry.mutation_id));
      this.#put(own, [], 'local', 'local', moves.reduce<readonly Entry[]>(move, this.outbox.filter((e) => !ids.has(e.mutation_id))));
      this.#events.written({ rows: own, outbox: true, outcomes });
      outcomes.forEach((outcome) => this.#events.outcome(outcome));
    });
  }

  /** idle is fulfilled when nothing is being written any more; what the feed brought and is not stored yet is forgotten. */
  async idle(): Promise<void> {
    this.#reign++;
    this.#batch = undefined;
    await this.#last;
  }

  /** clear forgets everything, here and in the store. */
  async clear(): Promise<void> {
    await this.#serially(async () => {
      await this.#store?.clear();
      this.#store?.close();
      this.forget();
    });
  }

  /** forget empties this tab's copy. */
  forget(): void {
    this.cursors = {};
    this.#put([], [...this.#tables.keys()], 'tab', 'tab', []);
  }

  #without(error: unknown): void {
    console.warn(`gormsync: edits are not stored: ${error}`);
    this.#store = undefined;
  }

  /** An edit is based on the row as it is held; behind another one of its row on that one's answer, which is not there yet. */
  #base(entry: Entry): void {
    const { entity, id } = entry;
    const front = this.outbox.find((e) => e.entity === entity && e.id === id) ?? entry;
    const held = this.table(entity).held(id);
    if (front === entry && held?.data) entry.client_version ??= held.version;
  }

  async #add(entry: Entry): Promise<void> {
    await (this.#opened ??= this.#open().then(() => this.load()));
    await this.#last; // what is edited may be stored and not read yet
    this.#base(entry);
    const reads = this.#reads;
    try {
      if (this.#store) await this.#store.add(entry);
      else entry.seq = 0;
    } catch (error) {
      this.#put([], [], 'local', 'local', this.outbox.filter((e) => e.mutation_id !== entry.mutation_id));
      const { entity, id, mutation_id, action, data } = entry;
      const message = `The edit was not stored: ${error}`;
      this.#events.outcome({ entity, id, mutation_id, action, status: 'rejected', mine: data, theirs: this.table(entity).get(id) ?? null, error: { code: 'not_stored', message } });
      throw error;
    }
    // The leader may have sent it and have had its answer, before this tab heard that it is stored.
    if (reads < this.#reads) this.refresh().catch(() => {});
    this.#events.written({ outbox: true });
  }

  async #page(rows: Held[], whole: string[], cursors: Cursors): Promise<void> {
    try {
      await this.#store?.page(rows, cursors, whole, this.alone);
    } catch (error) {
      if (this.#store) this.#store.rows = false; // what is stored stays as it is: rows and cursors of one moment
      console.warn(`gormsync: rows are not stored: ${error}`);
    }
    this.cursors = cursors;
    this.#put(rows, whole, 'remote', whole.length ? 'remote' : 'local');
    this.#events.written({ rows, whole, cursors });
  }

  /** What other tabs stored; this tab's own edits may be on their way into the store. */
  async #reread(): Promise<void> {
    if (!this.#store) return;
    this.#reads++;
    const before = new Set(this.outbox.filter((e) => e.seq).map((e) => e.mutation_id));
    const stored = await this.#store.outbox();
    const found = new Set(stored.map((e) => e.mutation_id));
    this.#put([], [], 'tab', 'tab', [...stored, ...this.outbox.filter(({ mutation_id: id }) => !before.has(id) && !found.has(id))]);
  }

  /** Everything that changes rows comes through here, so that listeners hear of it once, when all is in place. */
  #put(rows: readonly Held[], whole: readonly string[], theirs: Source, own = theirs, outbox = this.outbox): void {
    const touched = new Map<string, [entity: string, id: string, source: Source, before: Row | undefined]>();
    const touch = (entity: string, id: string, source: Source) => touched.set(`${entity}\0${id}`, [entity, id, source, this.table(entity).get(id)]);
    const edited = outbox !== this.outbox;
    for (const entity of whole) for (const { id } of this.table(entity).known()) touch(entity, id, theirs);
    if (edited) for (const { entity, id } of [...this.outbox, ...outbox]) touch(entity, id, own);
    for (const { entity, id, by } of rows) touch(entity, id, by === this.clientID ? own : theirs);

    for (const entity of whole) this.table(entity).clear();
    for (const row of rows) this.table(row.entity).put(row);
    if (edited) {
      this.outbox = outbox;
      for (const [entity, table] of this.#tables) table.edit(outbox.filter((e) => e.entity === entity));
    }
    const told = new Map<string, [entity: string, ids: string[], source: Source]>();
    for (const [entity, id, source, before] of touched.values()) {
      if (same(before, this.table(entity).get(id))) continue;
      const key = `${entity} ${source}`;
      if (!told.has(key)) told.set(key, [entity, [], source]);
      told.get(key)![1].push(id);
    }
    for (const event of told.values()) this.#events.changed(...event);
    if (edited) this.#events.pending(outbox.length);
  }

  #leading(job: () => Promise<void>): Promise<void> {
    const reign = this.#reign;
    return this.#serially(async () => {
      if (reign === this.#reign) await job();
    });
  }

  #serially(job: () => Promise<void>): Promise<void> {
    const done = this.#last.then(job);
    this.#last = done.catch(() => {});
    return done;
  }
}

function toHeld({ entity, entity_id, version, action, data, client_id }: Change): Held {
  return { entity, id: entity_id, version, data: action === 'delete' ? null : data, by: client_id };
}

/** Some browsers never answer when their storage is broken. */
const late = () => new Promise<never>((_, failed) => setTimeout(failed, 5000, 'no answer'));
