import { load, LoadError } from './load';
import { Socket } from './socket';
import { initial, next, status, type Effect, type Event, type Machine, type Status } from './state';
import { backoff, timeout } from './timing';
import { onWake } from './wake';
import { changesOf, judgeError, ping, socketURL, subscribe, type Change, type ServerFrame, type Snapshot } from './wire';

/** What a follower hands on. */
export interface Receiver {
  /** All rows of the entities: they take the place of what was known. */
  snapshots(snapshots: Snapshot[]): void;
  /** The changes of whole transactions, in an order that is right for every row. */
  changes(changes: Change[]): void;
  /** Another status. */
  status(status: Status): void;
}

/** Follower carries out what the state machine says: it is the only place with timers and connections. */
export class Follower {
  readonly #base: string;
  readonly #entities: readonly string[];
  readonly #receiver: Receiver;
  readonly #socket: Socket;
  #machine: Machine = initial;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #loading = new AbortController();
  #asleep = () => {};
  /** The place in the feed from which each entity follows. */
  #cursors: Record<string, string> = {};
  /** The beginning of a transaction that spans frames. */
  #begun: Change[] = [];

  constructor(base: string, entities: readonly string[], receiver: Receiver) {
    this.#base = base;
    this.#entities = entities;
    this.#receiver = receiver;
    this.#socket = new Socket(socketURL(base), {
      opened: () => this.#on('opened'),
      closed: (verdict, reason) => {
        if (verdict === 'refused') console.error(`gormsync: the server closed the connection for good: ${reason}`);
        this.#on(verdict);
      },
      received: (data) => this.#received(data),
    });
  }

  /** What to tell people. */
  get status(): Status {
    return status(this.#machine);
  }

  /** start begins to follow. */
  start(): void {
    this.#asleep();
    this.#asleep = onWake(() => this.#on('wake'));
    this.#on('start');
  }

  /** stop ends it; rows already handed on stay. */
  stop(): void {
    this.#asleep();
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
    if (ms !== null) this.#timer = setTimeout(() => this.#on('timer'), ms);
  }

  readonly #effects: Record<Effect, () => void> = {
    load: () => void this.#load(),
    abort: () => this.#loading.abort(),
    connect: () => this.#socket.open(0),
    reconnect: () => this.#socket.open(backoff(this.#machine.failures, Math.random())),
    hurry: () => this.#socket.hurry(),
    disconnect: () => this.#socket.close(),
    subscribe: () => {
      this.#begun = [];
      this.#socket.send(subscribe(this.#cursors));
    },
    ping: () => this.#socket.send(ping),
  };

  async #load(): Promise<void> {
    const { signal } = (this.#loading = new AbortController());
    try {
      const snapshots = await load(this.#base, this.#entities, signal, () => signal.aborted || this.#on('progress'));
      signal.throwIfAborted();
      this.#cursors = Object.fromEntries(snapshots.map((s) => [s.entity, s.cursor]));
      this.#receiver.snapshots(snapshots);
      this.#on('loaded');
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const verdict = error instanceof LoadError ? error.verdict : 'failed';
    if (verdict === 'refused') console.error(String(error));
    else console.warn(`gormsync: no snapshot, trying again: ${String(error)}`);
    this.#on(verdict);
  }

  #received(data: string): void {
    let event: Event = 'failed'; // whatever cannot be taken in is asked for again, from the last cursor
    try {
      const frame = JSON.parse(data) as ServerFrame;
      this.#take(frame);
      event = this.#meaning(frame);
    } catch (error) {
      console.error(`gormsync: unreadable frame: ${String(error)}`);
    }
    this.#on(event);
  }

  #meaning(frame: ServerFrame): Event {
    if (frame.type === 'subscribed' || frame.type === 'reset') return frame.type;
    if (frame.type !== 'error') return 'heard';
    console.warn(`gormsync: the server reports ${frame.code}: ${frame.message}`);
    return judgeError(frame.code) ?? 'heard';
  }

  /** The cursor moves only after the changes before it are handed on, and never in the middle of a transaction. */
  #take(frame: ServerFrame): void {
    if (frame.type === 'heartbeat' && !this.#begun.length) this.#moveTo(frame.cursor, this.#entities);
    const changes = changesOf(frame);
    this.#begun.push(...changes);
    if (!changes.length || ('more' in frame && frame.more)) return;
    const whole = this.#begun.splice(0);
    this.#receiver.changes(whole);
    if ('cursor' in frame && frame.cursor) this.#moveTo(frame.cursor, whole.map((change) => change.entity));
  }

  /** While entities stand at different places, a cursor speaks only for those that it came with. */
  #moveTo(cursor: string, entities: readonly string[]): void {
    const together = new Set(Object.values(this.#cursors)).size === 1;
    for (const entity of together ? this.#entities : entities) this.#cursors[entity] = cursor;
  }
}
