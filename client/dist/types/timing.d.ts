import type { Machine } from './state.js';
/**
 * backoff is the pause after that many failures, with `random` in [0, 1): capped
 * exponential with full jitter, so that the clients of a server that comes back
 * do not all arrive in the same moment.
 */
export declare function backoff(failures: number, random: number): number;
/** timeout is how long a machine may stay in its state before the event 'timer'; undefined is for ever. */
export declare function timeout({ state, failures }: Machine, random: number): number | undefined;
