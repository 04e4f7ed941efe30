import type { Action, Conflict, PushChange, PushResult, Refusal, Row } from './wire.js';
/**
 * Entry is an edit of this device that the server has not answered yet. Behind
 * another entry of its row it has no client_version: that is its answer's.
 */
export interface Entry extends PushChange {
    /** Its place in the order of edits; absent until it is stored, 0 where nothing can be. */
    seq?: number;
}
/** Held is what is known of a row: the server's word, without this device's edits. */
export interface Held {
    entity: string;
    id: string;
    version: number;
    /** null: there is no such row. It is kept so that an older change cannot bring it back. */
    data: Row | null;
    /** The device that changed it last. */
    by?: string | null | undefined;
}
/** What became of an edit, for whoever made it. */
export interface Outcome {
    entity: string;
    /** The row's key: for a key made by the database not the one that the edit began with. */
    id: string;
    mutation_id: string;
    action: Action;
    status: 'applied' | 'merged' | 'conflict' | 'rejected';
    /** The fields that the edit set; null for a delete. */
    mine: Row | null;
    /** The row as the server has it; null when there is none. */
    theirs: Row | null;
    /** The fields in which mine does not stand. */
    conflicts?: Conflict[] | undefined;
    /** Why it was refused. */
    error?: Refusal | undefined;
}
/** What an answer means for the edits behind the one that it is for. */
export interface Move {
    entity: string;
    id: string;
    /** The row's key from now on. */
    to: string;
    /** What the next edit is based on; undefined: what it was. */
    version: number | undefined;
}
/** move gives the edits as they are after one before them was answered. Those that are not stored yet find their base when they are. */
export declare function move(edits: readonly Entry[], { entity, id, to, version }: Move): Entry[];
/** What the answers to a push mean for the outbox and the rows. */
export interface Settlement {
    gone: Entry[];
    moves: Move[];
    rows: Held[];
    outcomes: Outcome[];
}
/** nextBatch is what may be sent now: the first entries, but only one of each row, since the next one is based on its answer. */
export declare function nextBatch(outbox: readonly Entry[], limit: number): Entry[];
/** settle reads the answers to some entries. An entry without an answer, or with 'retry', stays. */
export declare function settle(outbox: readonly Entry[], sent: readonly Entry[], results: readonly PushResult[]): Settlement;
