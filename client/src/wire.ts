// The messages of the wire contract that a follower reads and writes. Every
// name of the protocol stands in this file and nowhere else in src/.

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
export type ServerFrame =
  | { type: 'subscribed'; entities: string[]; cursor: string }
  | { type: 'change'; change: Change; cursor?: string }
  | { type: 'changes'; changes: Change[]; cursor?: string; more?: boolean }
  | { type: 'leave'; entity: string; entity_id: string; version: number; cursor?: string }
  | { type: 'heartbeat'; cursor: string }
  | { type: 'reset'; reason?: string }
  | { type: 'error'; code: string; message: string }
  | { type: 'pong' };

/** What a follower sends over the socket. */
export type ClientFrame =
  | { type: 'subscribe'; entities: string[]; since: Record<string, string>; batch: true }
  | { type: 'ping' };

/** subscribe asks for everything after the cursors, whole transactions together, and then live. */
export function subscribe(since: Record<string, string>): ClientFrame {
  return { type: 'subscribe', entities: Object.keys(since), since, batch: true };
}

/** ping asks for a sign of life. */
export const ping: ClientFrame = { type: 'ping' };

/** changesOf lists the row changes that a frame carries; a leave is a delete to whoever had the row. */
export function changesOf(frame: ServerFrame): Change[] {
  switch (frame.type) {
    case 'change':
      return [frame.change];
    case 'changes':
      return frame.changes;
    case 'leave':
      return [{ ...frame, id: frame.version, action: 'delete', data: null }];
    default:
      return [];
  }
}

/** snapshotURL is where all rows of an entity are. */
export const snapshotURL = (base: string, entity: string) => `${base}/sync/${encodeURIComponent(entity)}`;

/** socketURL is where live changes are. */
export const socketURL = (base: string) => `${base.replace(/^http/, 'ws')}/sync/ws`;

/** judgeClose: 4000 to 4099 say 'not again without a change'; 4008 ('too slow') is the exception. */
export function judgeClose(code: number): 'closed' | 'refused' {
  return code >= 4000 && code <= 4099 && code !== 4008 ? 'refused' : 'closed';
}

/** judgeStatus: what is wrong with the request stays wrong, everything else may pass. */
export function judgeStatus(status: number): 'failed' | 'refused' {
  return status >= 400 && status < 500 && status !== 408 && status !== 429 ? 'refused' : 'failed';
}

/** judgeError does the same for the code of an error frame; null means that the feed goes on. */
export function judgeError(code: string): 'failed' | 'refused' | 'reset' | null {
  switch (code) {
    case 'cursor_expired':
    case 'bad_cursor':
      return 'reset';
    case 'unauthorized':
    case 'forbidden':
    case 'unknown_entity':
    case 'refused':
      return 'refused';
    case 'busy':
      return 'failed';
    default:
      return null;
  }
}
