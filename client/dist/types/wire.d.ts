/** A row of a tracked table: column name to value. */
export type Row = Record<string, unknown>;
/** One change of one row, as the server logged it. */
export interface Change {
    id: number;
    entity: string;
    entity_id: string;
    action: 'create' | 'update' | 'delete';
    /** The row after the change; null for a delete. */
    data: Row | null;
    /** Grows with every change of the row; 0 for a row that was never logged. */
    version: number;
    client_id?: string | null;
    actor?: string;
    mutation_id?: string;
    created_at?: string;
}
/** The answer to `GET /sync/:entity` without `since`: all rows, and the place to follow from. */
export interface Snapshot {
    entity: string;
    cursor: string;
    changes: Change[];
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
} | {
    type: 'reset';
    reason?: string;
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
/** snapshotURL is where all rows of an entity are. */
export declare const snapshotURL: (base: string, entity: string) => string;
/** socketURL is where live changes are. */
export declare const socketURL: (base: string) => string;
/** judgeClose: 4000 to 4099 say 'not again without a change'; 4008 ('too slow') is the exception. */
export declare function judgeClose(code: number): 'closed' | 'refused';
/** judgeStatus: what is wrong with the request stays wrong, everything else may pass. */
export declare function judgeStatus(status: number): 'failed' | 'refused';
/** judgeError does the same for the code of an error frame; null means that the feed goes on. */
export declare function judgeError(code: string): 'failed' | 'refused' | 'reset' | null;
