import { ask, LoadError } from './load';
import { nextBatch, type Entry } from './outbox';
import type { Replica } from './replica';
import { backoff } from './timing';
import { pushURL, type PushResult } from './wire';

const most = 100;
const patience = 30_000;

/** Pusher sends the outbox, one request at a time, until it is empty. */
export class Pusher {
  readonly #base: string;
  readonly #replica: Replica;
  readonly #refused: (reason: string) => void;
  #on = false;
  #busy = false;
  #failures = 0;
  #limit = most;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #request = new AbortController();

  /** refused is called when the server does not know this user any more; the outbox waits for the next start. */
  constructor(
    base: string,
    replica: Replica,
    refused: (reason: string) => void,
  ) {
    this.#base = base;
    this.#replica = replica;
    this.#refused = refused;
  }

  start(): void {
    this.#on = true;
    this.kick();
  }

  /** stop ends it. A request on its way may have reached the server: it is sent again another time, and the server knows it by its mutation id. */
  stop(): void {
    this.#on = false;
    this.#request.abort();
  }

  /** kick sends what there is, now. */
  kick(): void {
    clearTimeout(this.#timer);
    if (this.#on && !this.#busy) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    try {
      while (await this.#round()) this.#failures = 0;
    } catch (error) {
      if (error instanceof LoadError && error.status === 401) this.#refused(error.message);
      else if (this.#on) this.#timer = setTimeout(() => this.kick(), backoff(++this.#failures, Math.random()));
    }
    this.#busy = false;
  }

  /** One request. It says whether to go on. */
  async #round(): Promise<boolean> {
    await this.#replica.refresh(); // of two edits of a row, the first must never be sent second
    const batch = nextBatch(this.#replica.outbox.filter((e) => e.seq !== undefined), this.#limit);
    if (!batch.length || !this.#on) return false;
    const results = await this.#send(batch);
    await this.#replica.settle(batch, results);
    if (batch.some((e) => this.#replica.outbox.some(({ mutation_id }) => mutation_id === e.mutation_id))) throw new Error('retry');
    return true;
  }

  async #send(batch: readonly Entry[]): Promise<PushResult[]> {
    const request = (this.#request = new AbortController());
    const timer = setTimeout(() => request.abort(), patience);
    try {
      const response = await ask(pushURL(this.#base), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ client_id: this.#replica.clientID, changes: batch.map(({ seq: _, ...change }) => change) }),
        signal: request.signal,
      });
      const { results } = (await response.json()) as { results: PushResult[] };
      this.#limit = Math.min(most, this.#limit * 2);
      return results;
    } catch (error) {
      if (!(error instanceof LoadError) || error.verdict !== 'refused' || error.status === 401) throw error;
      return this.#alone(batch, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A request that is refused as a whole is cut in halves, until the edit that spoils it stands alone. */
  #alone(batch: readonly Entry[], { message }: LoadError): Promise<PushResult[]> | PushResult[] {
    if (batch.length === 1) return batch.map(({ id, mutation_id }) => ({ id, mutation_id, status: 'rejected', error: { code: 'refused', message } }));
    this.#limit = batch.length >> 1;
    return this.#send(batch.slice(0, this.#limit));
  }
}
