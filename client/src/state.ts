// The follower as a pure state machine: no I/O, no clock, no dice.
//
//   idle ─▶ loading ──loaded──▶ connecting ──opened──▶ subscribing ──subscribed──▶ live ◀─▶ probing
//            ▲  │                   │                      │                        │          │
//            │  └──failed──▶ waiting ◀── failed, silent, reset ─────────────────────┴──────────┘
//            └── timer, wake ──┘                            refused, from anywhere ──▶ stopped
//
// loading takes a snapshot of the entities that have no cursor: of all, of some,
// or, after a mere cut, of none. A connection is open or being opened in
// connecting, subscribing, live and probing only. So no change arrives while a
// snapshot loads, and the snapshot may simply take the rows' place.

/** Where a follower stands. */
export type State =
  | 'idle' //        not started, or stopped by the page
  | 'loading' //     takes the snapshots that are missing
  | 'waiting' //     lets time pass before the next try
  | 'connecting' //  opens the connection
  | 'subscribing' // has sent its cursors, waits for the answer
  | 'live' //        follows
  | 'probing' //     follows, but heard nothing for long: has sent a ping
  | 'stopped'; //    was refused: trying again would get the same answer

/** What happens to a follower. */
export type Event =
  | 'start' //      the page wants to follow
  | 'stop' //       the page does not want to any more
  | 'added' //      the page wants more entities
  | 'loaded' //     the snapshots are in
  | 'progress' //   some more of a snapshot arrived
  | 'failed' //     something went wrong that may pass
  | 'refused' //    the server said no for good
  | 'opened' //     the connection is open
  | 'subscribed' // the server took the cursors
  | 'heard' //      any other frame arrived
  | 'reset' //      a cursor is good no more
  | 'wake' //       the page was shown or the network came back
  | 'timer'; //     the state's time is up

/** What is to be done on the way into the next state; each begins with dropping what was being done. */
export type Effect = 'load' | 'connect' | 'drop' | 'subscribe' | 'ping';

/** The state, and what the pause before the next try depends on. */
export interface Machine {
  readonly state: State;
  /** Failures since the follower last heard from the server. */
  readonly failures: number;
  /** Whether it was live before. */
  readonly wasLive: boolean;
}

/** One cell of the table: where to go, what to do, and how to count failures. */
export interface Step {
  readonly to: State;
  readonly run?: Effect;
  readonly failures?: 'add' | 'clear';
}

const load: Step = { to: 'loading', run: 'load' };
const again: Step = { to: 'waiting', run: 'drop', failures: 'add' };
const refuse: Step = { to: 'stopped', run: 'drop' };
const halt: Step = { to: 'idle', run: 'drop' };
const alive: Step = { to: 'live', failures: 'clear' };
const probe: Step = { to: 'probing', run: 'ping' };
const started = { stop: halt, failed: again, refused: refuse, reset: again, timer: again, added: load };

/** Every state with the events that mean something there; the others change nothing, and the state's time runs on. */
export const table: Record<State, Partial<Record<Event, Step>>> = {
  idle: { start: load },
  waiting: { stop: halt, wake: { ...load, failures: 'clear' }, timer: load },
  loading: { ...started, loaded: { to: 'connecting', run: 'connect' }, progress: { to: 'loading' } },
  connecting: { ...started, opened: { to: 'subscribing', run: 'subscribe' } },
  subscribing: { ...started, subscribed: { to: 'live' }, heard: { to: 'subscribing' } },
  live: { ...started, subscribed: alive, heard: alive, wake: probe, timer: probe },
  probing: { ...started, subscribed: alive, heard: alive },
  stopped: { start: load, stop: halt },
};

/** The machine before its first event. */
export const initial: Machine = { state: 'idle', failures: 0, wasLive: false };

/** next is the machine after an event and what is to be done; null if the event means nothing. */
export function next(machine: Machine, event: Event): { machine: Machine; run: Effect | undefined } | null {
  const step = table[machine.state][event];
  if (!step) return null;
  const failures = step.failures === 'add' ? machine.failures + 1 : step.failures === 'clear' ? 0 : machine.failures;
  return { machine: { state: step.to, failures, wasLive: machine.wasLive || step.to === 'live' }, run: step.run };
}

/** What a page is told: live, not yet, not now, or not any more. */
export type Status = 'connecting' | 'live' | 'reconnecting' | 'stopped';

/** status sums a machine up for people. */
export function status({ state, wasLive }: Machine): Status {
  if (state === 'idle' || state === 'stopped') return 'stopped';
  if (state === 'live' || state === 'probing') return 'live';
  return wasLive ? 'reconnecting' : 'connecting';
}

/**
 * viaEvents tells which connection to try after that many failures in a row:
 * mostly the WebSocket, every third time server-sent events, which get through
 * where a proxy refuses upgrades.
 */
export const viaEvents = (failures: number) => failures % 3 === 2;
