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
export function move(edits: readonly Entry[], { entity, id, to, version }: Move): Entry[] {
  return edits.map((e) => {
    if (e.seq === undefined || e.entity !== entity || e.id !== id) return e;
    e = { ...e, id: to, client_version: version ?? e.client_version };
    version = undefined; // the others wait for the first one's answer
    return e;
  });
}

/** What the answers to a push mean for the outbox and the rows. */
export interface Settlement {
  gone: Entry[];
  moves: Move[];
  rows: Held[];
  outcomes: Outcome[];
}

/** nextBatch is what may be sent now: the first entries, but only one of each row, since the next one is based on its answer. */
export function nextBatch(outbox: readonly Entry[], limit: number): Entry[] {
  const rows = new Set<string>();
  const first = outbox.filter(({ entity, id }) => rows.size < rows.add(JSON.stringify([entity, id])).size);
  return first.slice(0, limit);
}

/** settle reads the answers to some entries. An entry without an answer, or with 'retry', stays. */
export function settle(outbox: readonly Entry[], sent: readonly Entry[], results: readonly PushResult[]): Settlement {
  const to: Settlement = { gone: [], moves: [], rows: [], outcomes: [] };
  for (const entry of sent) {
    const result = results.find((r) => r.mutation_id === entry.mutation_id);
    if (result && result.status !== 'retry') settleOne(to, entry, outbox, result as Final);
  }
  return to;
}

type Final = PushResult & { status: Exclude<PushResult['status'], 'retry'> };

function settleOne(to: Settlement, entry: Entry, outbox: readonly Entry[], { id, status, version, data, conflicts, error }: Final): void {
  const { entity } = entry;
  if (version !== undefined && data !== undefined) to.rows.push({ entity, id, version, data });
  const final = status === 'duplicate' ? 'applied' : status;
  const lost = final === 'conflict' || (final === 'rejected' && entry.action === 'create');
  const gone = lost ? outbox.filter((e) => e.seq !== undefined && e.entity === entity && e.id === entry.id) : [entry];
  gone.forEach(({ mutation_id, action, data: mine }, i) => to.outcomes.push({ entity, id, mutation_id, action, status: final, mine, theirs: data ?? null, conflicts: i ? undefined : conflicts, error }));
  to.gone.push(...gone);
  to.moves.push({ entity, id: entry.id, to: id, version });
}
