import { ask, type LoadError } from './load.js';
import { nextBatch, type Entry } from './outbox.js';
import type { Replica } from './replica.js';
import { backoff } from './timing.js';
import { pushURL, type Address, type PushResult } from './wire.js';

const most = 100;
const patience = 30_000;

/** Pusher sends the outbox, one request at a time, until it is empty. */
export interface Pusher {
  start: () => void;
  /** stop ends it. A request on its way may have reached the server: it is sent again another time, and the server knows it by its mutation id. */
  stop: () => void;
  /** kick sends what there is, now. */
  kick: () => void;
  /** nudge sends what there is, unless a pause is on: one more edit is no reason to end it. */
  nudge: () => void;
}

/** newPusher makes one. refused is called when the server does not know this user any more; the outbox waits for the next start. */
export function newPusher(at: Address, replica: Replica, refused: (reason: string) => void): Pusher {
  let on = false;
  let busy = false;
  let failures = 0;
  let limit = most;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let request: AbortController | undefined;

  const kick = () => {
    clearTimeout(timer);
    timer = undefined;
    if (on && !busy) void drain();
  };

  async function drain(): Promise<void> {
    busy = true;
    try {
      while (await round()) failures = 0;
    } catch (error) {
      busy = false;
      const { status, message } = error as LoadError;
      if (status === 401) refused(message);
      else if (on) timer = setTimeout(kick, backoff(++failures, Math.random()));
    }
  }

  /** One request. It says whether to go on. */
  async function round(): Promise<boolean> {
    await replica.refresh(); // of two edits of a row, the first must never be sent second
    const batch = nextBatch(replica.outbox.filter((e) => e.seq !== undefined), limit);
    if (!batch.length || !on) return (busy = false); // with the look, so that no edit falls in between
    const results = await send(batch);
    await replica.settle(batch, results);
    if (batch.some((e) => replica.outbox.some(({ mutation_id }) => mutation_id === e.mutation_id))) throw new Error('retry');
    return true;
  }

  async function send(batch: readonly Entry[]): Promise<PushResult[]> {
    const current = (request = new AbortController());
    const late = setTimeout(() => current.abort(), patience);
    try {
      const response = await ask(pushURL(at), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ client_id: replica.clientID, changes: batch.map(({ seq: _, ...change }) => change) }),
        signal: current.signal,
      });
      const { results } = (await response.json()) as { results: PushResult[] };
      limit = Math.min(most, limit * 2);
      return results;
    } catch (error) {
      const { verdict, status, message } = error as LoadError;
      if (verdict !== 'refused' || status === 401) throw error;
      return alone(batch, message);
    } finally {
      clearTimeout(late);
    }
  }

  /** A request that is refused as a whole is cut in halves, until the edit that spoils it stands alone. */
  function alone(batch: readonly Entry[], message: string): Promise<PushResult[]> | PushResult[] {
    if (batch.length === 1) return batch.map(({ id, mutation_id }) => ({ id, mutation_id, status: 'rejected', error: { code: 'refused', message } }));
    limit = batch.length >> 1;
    return send(batch.slice(0, limit));
  }

  return {
    kick,
    nudge: () => timer || kick(),
    start() {
      on = true;
      kick();
    },
    stop() {
      on = false;
      request?.abort();
    },
  };
}
