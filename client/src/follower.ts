import { openEvents, openSocket, type Link } from './link';
import { load, LoadError } from './load';
import { initial, next, status, viaEvents, type Effect, type Event, type Machine, type Status } from './state';
import { timeout } from './timing';
import { changesOf, judgeError, ping, subscribe, type Change, type ServerFrame, type Snapshot } from './wire';

/** A place in the feed for each entity that has one. */
export type Cursors = Record<string, string>;

/** What a follower hands on. */
export interface Receiver {
  /** Snapshots are being taken. */
  loading(): void;
  /** All rows of some entities: they take the place of what was known of these. The promise is fulfilled when they have. */
  snapshots(snapshots: Snapshot[], cursors: Cursors): Promise<void>;
  /** The changes of whole transactions, in an order that is right for every row, and the place behind them. */
  changes(changes: Change[], cursors: Cursors): void;
  /** Another status. */
  status(status: Status): void;
}

/** Follower carries out what the state machine says. It keeps a place, but no rows. */
export class Follower {
  readonly #base: string;
  readonly #receiver: Receiver;
  #machine: Machine = initial;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #link: Link | undefined;
  #loading = new AbortController();
  readonly #entities = new Set<string>();
  #cursors: Cursors = {};
  /** The beginning of a transaction that spans frames. */
  #begun: Change[] = [];

  constructor(
    base: string,
    receiver: Receiver,
  ) {
    this.#base = base;
    this.#receiver = receiver;
  }

  /** What to tell people. */
  get status(): Status {
    return status(this.#machine);
  }

  /** follow adds entities, and begins if it had not: each entity from its cursor, or from a snapshot if it has none. */
  follow(entities: Iterable<string>, cursors: Cursors): void {
    const before = this.#entities.size;
    for (const entity of entities) this.#entities.add(entity);
    if (this.status !== 'stopped') return this.#entities.size > before ? this.#on('added') : undefined;
    this.#cursors = { ...cursors };
    this.#on('start');
  }

  /** wake looks at once whether the connection lives, or tries again. */
  wake(): void {
    this.#on('wake');
  }

  /** refuse ends it until the next start: the server does not want us. */
  refuse(reason: string): void {
    this.#failed('refused', reason);
  }

  /** stop ends it. */
  stop(): void {
    this.#on('stop');
  }

  #on(event: Event): void {
    const before = this.status;
    const step = next(this.#machine, event);
    if (!step) return;
    this.#machine = step.machine;
    this.#arm();
    if (step.run) this.#effects[step.run]();
    if (this.status !== before) this.#receiver.status(this.status);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const ms = timeout(this.#machine, Math.random());
    if (ms !== undefined) this.#timer = setTimeout(() => this.#on('timer'), ms);
  }

  readonly #effects: Record<Effect, () => void> = {
    drop: () => {
      this.#loading.abort();
      this.#link?.close();
      this.#begun = [];
    },
    load: () => {
      this.#effects.drop();
      void this.#load();
    },
    connect: () => {
      const on = {
        opened: () => this.#on('opened'),
        failed: (verdict: 'failed' | 'refused' | 'reset', reason: string) => this.#failed(verdict, reason),
        received: (frame: string) => this.#received(frame),
      };
      this.#link = viaEvents(this.#machine.failures) ? openEvents(this.#base, this.#cursors, on) : openSocket(this.#base, on);
    },
    subscribe: () => this.#link?.send(subscribe(this.#cursors)),
    ping: () => this.#link?.send(ping),
  };

  async #load(): Promise<void> {
    const { signal } = (this.#loading = new AbortController());
    const missing = [...this.#entities].filter((entity) => !this.#cursors[entity]);
    try {
      if (missing.length) {
        this.#receiver.loading();
        const { cursor, snapshots } = await load(this.#base, missing, signal, () => signal.aborted || this.#on('progress'));
        signal.throwIfAborted();
        for (const entity of missing) this.#cursors[entity] = cursor;
        await this.#receiver.snapshots(snapshots, { ...this.#cursors });
      } else await null;
      if (!signal.aborted) this.#on('loaded');
    } catch (error) {
      if (!signal.aborted) this.#failed(error instanceof LoadError ? error.verdict : 'failed', String(error));
    }
  }

  #failed(verdict: 'failed' | 'refused' | 'reset', reason: string): void {
    console.warn(`gormsync: ${verdict}: ${reason}`);
    if (verdict === 'reset') this.#cursors = {};
    this.#on(verdict);
  }

  #received(data: string): void {
    try {
      const frame = JSON.parse(data) as ServerFrame;
      this.#take(frame);
      this.#mean(frame);
    } catch (error) { // whatever cannot be taken in is asked for again, from the last cursor
      this.#failed('failed', `unreadable frame: ${String(error)}`);
    }
  }

  #mean(frame: ServerFrame): void {
    if (frame.type === 'reset') {
      for (const entity of frame.entities ?? this.#entities) delete this.#cursors[entity];
      return this.#on('reset');
    }
    const verdict = frame.type === 'error' && judgeError(frame.code);
    if (verdict) this.#failed(verdict, `${frame.code}: ${frame.message}`);
    else this.#on(frame.type === 'subscribed' ? 'subscribed' : 'heard');
  }

  /** The cursor moves only with the changes before it, and never in the middle of a transaction. */
  #take(frame: ServerFrame): void {
    const changes = changesOf(frame);
    this.#begun.push(...changes);
    if ('more' in frame && frame.more) return;
    if (frame.type === 'heartbeat' && !this.#begun.length) this.#moveTo(frame.cursor, frame.entities ?? this.#entities);
    else if (!changes.length) return;
    const whole = this.#begun.splice(0);
    if (whole.length && 'cursor' in frame && frame.cursor) this.#moveTo(frame.cursor, whole.map((change) => change.entity));
    this.#receiver.changes(whole, { ...this.#cursors });
  }

  /** While entities stand at different places, a cursor speaks only for those that it came with. */
  #moveTo(cursor: string, entities: Iterable<string>): void {
    const together = new Set(Object.values(this.#cursors)).size === 1;
    for (const entity of together ? Object.keys(this.#cursors) : entities) this.#cursors[entity] = cursor;
  }
}
