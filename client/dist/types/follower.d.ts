import { type Status } from './state';
import { type Change, type Snapshot } from './wire';
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
export declare class Follower {
    #private;
    constructor(base: string, entities: readonly string[], receiver: Receiver);
    /** What to tell people. */
    get status(): Status;
    /** start begins to follow. */
    start(): void;
    /** stop ends it; rows already handed on stay. */
    stop(): void;
}
