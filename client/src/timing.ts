import type { Machine } from './state';

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

/** timeout is how long a machine may stay in its state before the event 'timer'; null is for ever. */
export function timeout({ state, failures }: Machine, random: number): number | null {
  switch (state) {
    case 'waiting':
      return backoff(failures, random);
    case 'loading': // without a byte arriving
    case 'live': // the server's heartbeat comes every 25 s; then we ask
      return 30 * second;
    case 'connecting':
    case 'subscribing':
      return 10 * second;
    case 'probing':
      return 5 * second;
    default:
      return null;
  }
}
