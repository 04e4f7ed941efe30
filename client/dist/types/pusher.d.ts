import type { Replica } from './replica.js';
import { type Address } from './wire.js';
/** Pusher sends the outbox, one request at a time, until it is empty. */
export interface Pusher {
    start: () => void;
    /** stop ends it. A request on its way may have reached the server: it is sent again another time, and the server knows it by its mutation id. */
    stop: () => void;
    /** kick sends what there is, now. */
    kick: () => void;
    /** nudge sends what there is, unless a pause is on: one more edit is no reason to end it. */
    nudge: () => void;
}
/** newPusher makes one. refused is called when the server does not know this user any more; the outbox waits for the next start. */
export declare function newPusher(at: Address, replica: Replica, refused: (reason: string) => void): Pusher;
