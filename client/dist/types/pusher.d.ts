import type { Replica } from './replica';
/** Pusher sends the outbox, one request at a time, until it is empty. */
export declare class Pusher {
    #private;
    /** refused is called when the server does not know this user any more; the outbox waits for the next start. */
    constructor(base: string, replica: Replica, refused: (reason: string) => void);
    start(): void;
    /** stop ends it. A request on its way may have reached the server: it is sent again another time, and the server knows it by its mutation id. */
    stop(): void;
    /** kick sends what there is, now. */
    kick(): void;
}
