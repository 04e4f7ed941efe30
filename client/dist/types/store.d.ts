import type { Cursors } from './follower.js';
import { type Entry, type Held, type Move } from './outbox.js';
/** What a store holds. */
export interface Saved {
    rows: Held[];
    outbox: Entry[];
    cursors: Cursors;
}
/**
 * Store keeps rows, edits and cursors in IndexedDB. What a method wrote is safe
 * when its promise is fulfilled: an edit even from a crash of the machine.
 */
export interface Store {
    /** Whether rows are kept; false when there is room for the edits only. */
    rows: boolean;
    /** load reads everything. */
    load(): Promise<Saved>;
    /** outbox reads the edits. */
    outbox(): Promise<Entry[]>;
    /** clientID is this device's name, made once. */
    clientID(make: () => string): Promise<string>;
    /** add stores an edit. An update or deletion without a base, and with no other edit of its row before it, is based on the row as it is stored. */
    add(entry: Entry): Promise<void>;
    /** settle removes edits, moves those behind them, and stores what their rows are now. */
    settle(gone: readonly Entry[], moves: readonly Move[], rows: readonly Held[]): Promise<void>;
    /**
     * page stores a part of the feed and the place behind it; of `whole` entities
     * nothing else stays. Without `alone` other tabs write too. Where the store
     * has no place it lacks the rows before this one too: a browser that deleted it
     * left an empty one.
     */
    page(rows: readonly Held[], cursors: Cursors, whole: readonly string[], alone: boolean): Promise<void>;
    /** clear forgets everything, also who this device is; or the rows and cursors only. */
    clear(names?: readonly string[]): Promise<void>;
    /** close gives the connection back; the next call opens another one. */
    close(): void;
}
/** What a tab knows, should the browser delete the database under it. */
export interface Memory {
    readonly clientID: string;
    readonly outbox: readonly Entry[];
    readonly cursors: Cursors;
    everything(): {
        rows: Held[];
    };
}
/** newStore opens the database of that name when it is used. */
export declare function newStore(name: string, memory: Memory): Store;
