import type { Cursors } from './follower.js';
import { type Entry, type Held, type Outcome } from './outbox.js';
import { Rows } from './rows.js';
import type { Action, Change, PushResult, Row, Snapshot } from './wire.js';
/** Who changed a row: somebody else, this tab, or another tab of this browser. */
export type Source = 'remote' | 'local' | 'tab';
/** What one tab tells the others after it wrote to their common store. */
export interface Written {
    rows?: Held[];
    /** Entities of which no other row is left. */
    whole?: string[];
    /** The place behind these rows. */
    cursors?: Cursors;
    /** The outbox is another one. */
    outbox?: true;
    outcomes?: Outcome[];
}
/** What a replica tells its owner. */
export interface ReplicaEvents {
    changed(entity: string, ids: string[], source: Source): void;
    /** The number of edits on their way. */
    pending(count: number): void;
    outcome(outcome: Outcome): void;
    written(written: Written): void;
}
/** uuid is a random one; crypto.randomUUID is there in secure contexts only. */
export declare function uuid(): string;
/**
 * Replica is this tab's copy of the store, which all tabs share. Rows are
 * written by the leader only, edits by every tab. What the server sent is shown
 * when it is stored, an edit at once.
 */
export declare class Replica {
    #private;
    /** Names this device to the server. */
    clientID: string;
    cursors: Cursors;
    outbox: readonly Entry[];
    /** Whether no other tab writes rows. */
    alone: boolean;
    constructor(name: string, events: ReplicaEvents);
    /** Whether edits survive the page: false without IndexedDB. */
    get persistent(): boolean;
    /** Whether another tab could show the rows from the store. */
    get shared(): boolean;
    /** table is the rows of an entity. */
    table(entity: string): Rows;
    /** open finds out whether there is a store. */
    open(): Promise<void>;
    /** load takes over what is stored. A store that cannot be read is not used. */
    load(): Promise<void>;
    /** written takes over what another tab wrote. */
    written({ rows, whole, cursors, outbox, outcomes }: Written): Promise<void>;
    /** refresh reads the outbox, which every tab writes: the store alone knows the order. One that waits for its turn does for all. */
    refresh(): Promise<void>;
    /** everything is what a tab needs that cannot read it from the store. */
    everything(): {
        rows: Held[];
    } & Written;
    /** loading: snapshots are being taken from now on. */
    loading(): void;
    /** replace puts snapshots in the place of all rows of their entities. */
    replace(snapshots: readonly Snapshot[], cursors: Cursors): Promise<void>;
    /** apply takes changes of the feed. Those that come while the store is busy are stored together. */
    apply(changes: readonly Change[], cursors: Cursors): Promise<void>;
    /** edit queues an edit. Its promise is fulfilled when it is stored. */
    edit(entity: string, action: Action, id: string, data: Row | null): {
        entry: Entry;
        stored: Promise<void>;
    };
    /** settle takes the server's answers to pushed edits. */
    settle(sent: readonly Entry[], results: readonly PushResult[]): Promise<void>;
    /** idle is fulfilled when nothing is being written any more; what the feed brought and is not stored yet is forgotten. */
    idle(): Promise<void>;
    /** clear forgets everything, here and in the store. */
    clear(): Promise<void>;
    /** forget empties this tab's copy. */
    forget(): void;
}
