import { type Status } from './state.js';
import { type Address, type Change, type Snapshot } from './wire.js';
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
export declare function newFollower(at: Address, receiver: Receiver): Follower;
