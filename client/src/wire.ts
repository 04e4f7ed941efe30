// The messages of the wire contract that a client reads and writes. Every name
// of the protocol stands in this file and nowhere else in src/.

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
export type ServerFrame =
  | { type: 'subscribed'; entities: string[]; cursor: string }
  | { type: 'change'; change: Change; cursor?: string }
  | { type: 'changes'; changes: Change[]; cursor?: string; more?: boolean }
  | { type: 'leave'; entity: string; entity_id: string; version: number; cursor?: string }
  | { type: 'heartbeat'; cursor: string; entities?: string[] }
  | { type: 'reset'; reason?: string; entities?: string[] }
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
  if (frame.type === 'leave') return [{ ...frame, id: frame.version, action: 'delete', data: null }];
  return frame.type === 'changes' ? frame.changes : frame.type === 'change' ? [frame.change] : [];
}

/** Where the server's routes are, and for whom this page was made: requests of another user's session are refused then. */
export interface Address {
  base: string;
  user: string;
}

const url = ({ base, user }: Address, route: string, query: Record<string, string> = {}) => `${base}/sync${route}?${new URLSearchParams({ ...query, ...(user && { user }) })}`;

/** snapshotURL is where all rows of an entity are. */
export const snapshotURL = (at: Address, entity: string) => url(at, `/${encodeURIComponent(entity)}`);

/** pullURL is where the changes of several entities after a cursor are; 'now' is the present end of the log. */
export const pullURL = (at: Address, entities: readonly string[], since: string, route = '') => url(at, route, { entities: entities.join(), since });

/** eventsURL is the live feed as server-sent events. */
export const eventsURL = (at: Address, entities: readonly string[], since: string) => pullURL(at, entities, since, '/events');

/** pushURL takes edits of any entity. */
export const pushURL = (at: Address) => url(at, '');

/** socketURL is where live changes are. */
export const socketURL = (at: Address) => url(at, '/ws').replace(/^http/, 'ws');

/** judgeClose: 4000 to 4099 say 'not again without a change'; 4008 ('too slow') is the exception. */
export function judgeClose(code: number): 'failed' | 'refused' {
  return code >= 4000 && code <= 4099 && code !== 4008 ? 'refused' : 'failed';
}

/**
 * judgeStatus: what is wrong with the request stays wrong, if it is the server
 * who says so (`ours`), and not a proxy that has lost it for a moment. Everything
 * else may pass, but for a user who is not signed in and a request that is too large.
 */
export function judgeStatus(status: number, ours: boolean): 'failed' | 'refused' | 'reset' {
  if (status === 401 || status === 413) return 'refused';
  if (!ours || status >= 500 || status === 408 || status === 429) return 'failed';
  return status === 410 ? 'reset' : 'refused';
}

/** judgeError does the same for the code of an error frame; null means that the feed goes on. */
export function judgeError(code: string): 'failed' | 'refused' | 'reset' | null {
  if (/^(cursor_expired|bad_cursor)$/.test(code)) return 'reset';
  if (/^(unauthorized|forbidden|unknown_entity|refused)$/.test(code)) return 'refused';
  return code === 'busy' ? 'failed' : null;
}
