import { openEvents, openSocket, type Link } from './link.js';
import { load, type LoadError } from './load.js';
import { initial, next, status, viaEvents, type Effect, type Event, type Status } from './state.js';
import { timeout } from './timing.js';
import { changesOf, judgeError, ping, subscribe, type Address, type Change, type ServerFrame, type Snapshot } from './wire.js';

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
export interface Follower {
  /** follow adds entities, and begins if it had not: each entity from its cursor, or from a snapshot if it has none. */
  follow(entities: Iterable<string>, cursors: Cursors): void;
  /** wake looks at once whether the connection lives, or tries again. */
  wake(): void;
  /** refuse ends it until the next start: the server does not want us. */
  refuse(reason: string): void;
  /** stop ends it. */
  stop(): void;
}

/** newFollower makes one. */
export function newFollower(at: Address, receiver: Receiver): Follower {
  const wanted = new Set<string>();
  let machine = initial;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let link: Link | undefined;
  let loading: AbortController | undefined;
  let cursors: Cursors = {};
  let begun: Change[] = []; // of a transaction that spans frames

  function on(event: Event): void {
    const before = status(machine);
    const step = next(machine, event);
    if (!step) return;
    machine = step.machine;
    clearTimeout(timer);
    const ms = timeout(machine, Math.random());
    if (ms !== undefined) timer = setTimeout(() => on('timer'), ms);
    if (step.run) effects[step.run]();
    const now = status(machine);
    if (now !== before) receiver.status(now);
  }

  const effects: Record<Effect, () => void> = {
    drop() {
      loading?.abort();
      link?.close();
      begun = [];
    },
    load() {
      effects.drop();
      void fetchMissing();
    },
    connect() {
      const events = { opened: () => on('opened'), failed, received };
      link = viaEvents(machine.failures) ? openEvents(at, cursors, events) : openSocket(at, events);
    },
    subscribe: () => link?.send(subscribe(cursors)),
    ping: () => link?.send(ping),
  };

  async function fetchMissing(): Promise<void> {
    const { signal } = (loading = new AbortController());
    const missing = [...wanted].filter((entity) => !cursors[entity]);
    try {
      if (missing.length) {
        receiver.loading();
        const { cursor, snapshots } = await load(at, missing, signal, () => signal.aborted || on('progress'));
        signal.throwIfAborted();
        for (const entity of missing) cursors[entity] = cursor;
        await receiver.snapshots(snapshots, { ...cursors });
      } else await null;
      if (!signal.aborted) on('loaded');
    } catch (error) {
      if (!signal.aborted) failed((error as LoadError).verdict ?? 'failed', String(error));
    }
  }

  function failed(verdict: 'failed' | 'refused' | 'reset', reason: string): void {
    console.warn(`gormsync: ${verdict}: ${reason}`);
    if (verdict === 'reset') cursors = {};
    on(verdict);
  }

  function received(data: string): void {
    try {
      const frame = JSON.parse(data) as ServerFrame;
      take(frame);
      mean(frame);
    } catch (error) { // whatever cannot be taken in is asked for again, from the last cursor
      failed('failed', `unreadable frame: ${error}`);
    }
  }

  function mean(frame: ServerFrame): void {
    if (frame.type === 'reset') {
      for (const entity of frame.entities ?? wanted) delete cursors[entity];
      return on('reset');
    }
    const verdict = frame.type === 'error' && judgeError(frame.code);
    if (verdict) failed(verdict, `${frame.code}: ${frame.message}`);
    else on(frame.type === 'subscribed' ? 'subscribed' : 'heard');
  }

  /** The cursor moves only with the changes before it, and never in the middle of a transaction. */
  function take(frame: ServerFrame): void {
    const changes = changesOf(frame);
    begun.push(...changes);
    const { more, cursor, entities } = frame as { more?: boolean; cursor?: string; entities?: string[] };
    if (more || (begun.length && !changes.length)) return;
    const whole = begun.splice(0);
    if (!whole.length && frame.type !== 'heartbeat') return;
    if (cursor) moveTo(cursor, whole.length ? whole.map((change) => change.entity) : (entities ?? wanted));
    receiver.changes(whole, { ...cursors });
  }

  /** While entities stand at different places, a cursor speaks only for those that it came with. */
  function moveTo(cursor: string, entities: Iterable<string>): void {
    const together = new Set(Object.values(cursors)).size === 1;
    for (const entity of together ? Object.keys(cursors) : entities) cursors[entity] = cursor;
  }

  return {
    follow(entities, from) {
      const before = wanted.size;
      for (const entity of entities) wanted.add(entity);
      if (status(machine) !== 'stopped') return wanted.size > before ? on('added') : undefined;
      cursors = { ...from };
      on('start');
    },
    wake: () => on('wake'),
    refuse: (reason) => failed('refused', reason),
    stop: () => on('stop'),
  };
}
