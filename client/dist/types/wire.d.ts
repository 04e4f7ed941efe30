/** A row of a tracked table: column name to value. */
export type Row = Record<string, unknown>;
/** What a change does to its row. */
export type Action = 'create' | 'update' | 'delete';
/** One change of one row, as the server logged it. */
export interface Change {
    id: number;
    entity: string;
    entity_id: string;
    action: Action;
    /** The row after the change; null for a delete. */
    data: Row | null;
    /** Grows with every change of the row; 0 for a row that was never logged. */
    version: number;
    client_id?: string | null;
    actor?: string;
    mutation_id?: string;
    created_at?: string;
}
/** The answer to `GET /sync/:entity` without `since`: all rows, and a place to follow from. */
export interface Snapshot {
    entity: string;
    cursor: string;
    changes: Change[];
}
/** One edit on its way to the server. */
export interface PushChange {
    entity: string;
    id: string;
    action: Action;
    data: Row | null;
    /** The version that the edit was based on; absent for a row that the server did not have. */
    client_version?: number | undefined;
    mutation_id: string;
    /** When the edit was made, by this device's clock. */
    timestamp: string;
}
/** Why the server refused something: a code for programs and a sentence for people. */
export interface Refusal {
    code: string;
    message: string;
    /** The column that it is about. */
    field?: string;
}
/** A field of which the edit's value does not stand. */
export interface Conflict {
    field: string;
    server_value: unknown;
    server_timestamp: string;
    client_value: unknown;
    client_timestamp: string;
    /** The strategy that settled it. */
    resolution: string;
}
/** What became of one edit. */
export interface PushResult {
    id: string;
    mutation_id: string;
    /** `retry` alone is not final. */
    status: 'applied' | 'merged' | 'conflict' | 'rejected' | 'duplicate' | 'retry';
    version?: number;
    /** The row as it stands now; null when there is none. */
    data?: Row | null;
    conflicts?: Conflict[];
    error?: Refusal;
}
/** What the server sends over the socket. */
export type ServerFrame = {
    type: 'subscribed';
    entities: string[];
    cursor: string;
} | {
    type: 'change';
    change: Change;
    cursor?: string;
} | {
    type: 'changes';
    changes: Change[];
    cursor?: string;
    more?: boolean;
} | {
    type: 'leave';
    entity: string;
    entity_id: string;
    version: number;
    cursor?: string;
} | {
    type: 'heartbeat';
    cursor: string;
    entities?: string[];
} | {
    type: 'reset';
    reason?: string;
    entities?: string[];
} | {
    type: 'error';
    code: string;
    message: string;
} | {
    type: 'pong';
};
/** What a follower sends over the socket. */
export type ClientFrame = {
    type: 'subscribe';
    entities: string[];
    since: Record<string, string>;
    batch: true;
} | {
    type: 'ping';
};
/** subscribe asks for everything after the cursors, whole transactions together, and then live. */
export declare function subscribe(since: Record<string, string>): ClientFrame;
/** ping asks for a sign of life. */
export declare const ping: ClientFrame;
/** changesOf lists the row changes that a frame carries; a leave is a delete to whoever had the row. */
export declare function changesOf(frame: ServerFrame): Change[];
/** Where the server's routes are, and for whom this page was made: requests of another user's session are refused then. */
export interface Address {
    base: string;
    user: string;
}
/** snapshotURL is where all rows of an entity are. */
export declare const snapshotURL: (at: Address, entity: string) => string;
/** pullURL is where the changes of several entities after a cursor are; 'now' is the present end of the log. */
export declare const pullURL: (at: Address, entities: readonly string[], since: string, route?: string) => string;
/** eventsURL is the live feed as server-sent events. */
export declare const eventsURL: (at: Address, entities: readonly string[], since: string) => string;
/** pushURL takes edits of any entity. */
export declare const pushURL: (at: Address) => string;
/** socketURL is where live changes are. */
export declare const socketURL: (at: Address) => string;
/** judgeClose: 4000 to 4099 say 'not again without a change'; 4008 ('too slow') is the exception. */
export declare function judgeClose(code: number): 'failed' | 'refused';
/**
 * judgeStatus: what is wrong with the request stays wrong, if it is the server
 * who says so (`ours`), and not a proxy that has lost it for a moment. Everything
 * else may pass, but for a user who is not signed in and a request that is too large.
 */
export declare function judgeStatus(status: number, ours: boolean): 'failed' | 'refused' | 'reset';
/** judgeError does the same for the code of an error frame; null means that the feed goes on. */
export declare function judgeError(code: string): 'failed' | 'refused' | 'reset' | null;
