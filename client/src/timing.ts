import type { Machine, State } from './state.js';

const second = 1000;
const firstCeiling = second;
const lastCeiling = 30 * second;

/**
 * backoff is the pause after that many failures, with `random` in [0, 1): capped
 * exponential with full jitter, so that the clients of a server that comes back
 * do not all arrive in the same moment.
 */
export function backoff(failures: number, random: number): number {
  return failures && random * Math.min(lastCeiling, firstCeiling * 2 ** (failures - 1));
}

/** timeout is how long a machine may stay in its state before the event 'timer'; undefined is for ever. */
export function timeout({ state, failures }: Machine, random: number): number | undefined {
  const times: Partial<Record<State, number>> = {
    waiting: backoff(failures, random),
    loading: 30 * second, // without a byte arriving
    connecting: 10 * second,
    subscribing: 10 * second,
    live: 30 * second, // the server's heartbeat comes every 25 s; then we ask
    probing: 5 * second,
  };
  return times[state];
}
