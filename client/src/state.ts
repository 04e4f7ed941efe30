// The follower as a pure state machine: no I/O, no clock, no dice.
//
//                    failed, reset          closed, silent
//            ┌──────────────────────────┐   ┌───────────┐
//            ▼                          │   ▼           │
//   idle ─▶ loading ──loaded──▶ connecting ──opened──▶ subscribing ──subscribed──▶ live ◀─▶ probing
//            ▲  │
//            │  └──failed──▶ waiting ──┐          refused, from anywhere ──▶ stopped
//            └─────────────────────────┘
//
// The socket is open or being opened in connecting, subscribing, live and
// probing only. So nothing changes the rows while a snapshot loads, and the
// snapshot may simply take their place.

/** Where a follower stands. */
export type State =
  | 'idle' //        not started, or stopped by the page
  | 'loading' //     takes a snapshot of every entity
  | 'waiting' //     lets time pass before the next snapshot
  | 'connecting' //  opens the socket, as often as it takes
  | 'subscribing' // has sent its cursors, waits for the answer
  | 'live' //        follows
  | 'probing' //     follows, but heard nothing for long: has sent a ping
  | 'stopped'; //    was refused: trying again would get the same answer

/** What happens to a follower. */
export type Event =
  | 'start' //      the page wants to follow
  | 'stop' //       the page does not want to any more
  | 'loaded' //     the snapshot is in
  | 'progress' //   some more of the snapshot arrived
  | 'failed' //     something went wrong that may pass
  | 'refused' //    the server said no for good
  | 'opened' //     the socket is open
  | 'closed' //     the socket is closed
  | 'subscribed' // the server took the cursors
  | 'heard' //      any other frame arrived
  | 'reset' //      the cursor is good no more
  | 'wake' //       the page was shown or the network came back
  | 'timer'; //     the state's time is up

/** What is to be done on the way into the next state. */
export type Effect = 'load' | 'abort' | 'connect' | 'reconnect' | 'hurry' | 'disconnect' | 'subscribe' | 'ping';

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

/** The event means nothing in this state: nothing happens, the state's time runs on. */
export const ignore = null;

const load: Step = { to: 'loading', run: 'load' };
const again: Step = { to: 'connecting', run: 'reconnect', failures: 'add' };
const startOver: Step = { to: 'waiting', run: 'disconnect', failures: 'add' };
const refuse: Step = { to: 'stopped', run: 'disconnect' };
const halt: Step = { to: 'idle', run: 'disconnect' };
const alive: Step = { to: 'live', failures: 'clear' };
const probe: Step = { to: 'probing', run: 'ping' };

const ignoreAll: Record<Event, Step | typeof ignore> = {
  start: ignore, stop: ignore, loaded: ignore, progress: ignore, failed: ignore, refused: ignore, opened: ignore,
  closed: ignore, subscribed: ignore, heard: ignore, reset: ignore, wake: ignore, timer: ignore,
};
const connected = { ...ignoreAll, stop: halt, closed: again, failed: again, refused: refuse, reset: startOver };

/** Every state with every event. */
export const table: Record<State, Record<Event, Step | typeof ignore>> = {
  idle: { ...ignoreAll, start: load },
  waiting: { ...ignoreAll, stop: { to: 'idle' }, wake: load, timer: load },
  loading: {
    ...ignoreAll,
    stop: { to: 'idle', run: 'abort' },
    loaded: { to: 'connecting', run: 'connect' },
    progress: { to: 'loading' },
    failed: { to: 'waiting', failures: 'add' },
    refused: { to: 'stopped', run: 'abort' },
    timer: { to: 'waiting', run: 'abort', failures: 'add' },
  },
  connecting: { ...connected, opened: { to: 'subscribing', run: 'subscribe' }, wake: { to: 'connecting', run: 'hurry', failures: 'clear' } },
  subscribing: { ...connected, subscribed: { to: 'live' }, heard: { to: 'subscribing' }, timer: again },
  live: { ...connected, subscribed: alive, heard: alive, wake: probe, timer: probe },
  probing: { ...connected, subscribed: alive, heard: alive, timer: again },
  stopped: { ...ignoreAll, start: load, stop: { to: 'idle' } },
};

/** The machine before its first event. */
export const initial: Machine = { state: 'idle', failures: 0, wasLive: false };

/** next is the machine after an event and what is to be done; null if the event means nothing. */
export function next(machine: Machine, event: Event): { machine: Machine; run?: Effect } | null {
  const step = table[machine.state][event];
  if (step === ignore) return null;
  const failures = step.failures === 'add' ? machine.failures + 1 : step.failures === 'clear' ? 0 : machine.failures;
  const moved = { state: step.to, failures, wasLive: machine.wasLive || step.to === 'live' };
  return step.run ? { machine: moved, run: step.run } : { machine: moved };
}

/** What a page is told: live, not yet, not now, or not any more. */
export type Status = 'connecting' | 'live' | 'reconnecting' | 'stopped';

/** status sums a machine up for people. */
export function status({ state, wasLive }: Machine): Status {
  if (state === 'idle' || state === 'stopped') return 'stopped';
  if (state === 'live' || state === 'probing') return 'live';
  return wasLive ? 'reconnecting' : 'connecting';
}
