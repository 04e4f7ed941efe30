import { judgeStatus, pullURL, snapshotURL, type Address, type Snapshot } from './wire.js';

/** LoadError is an answer that could not be had, and what that means. Where there was no answer at all the error has neither. */
export interface LoadError extends Error {
  verdict?: 'failed' | 'refused' | 'reset';
  status?: number;
}

/** ask fetches and fails, with a LoadError unless there is no answer, if the answer is not a good one. */
export async function ask(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, { cache: 'no-store', ...init });
  if (response.ok) return response;
  const { error, message } = (await response.json().catch(() => ({}))) as { error?: string; message?: string };
  const { status } = response;
  throw Object.assign(new Error(`${url} answered ${status}: ${message ?? response.statusText}`), { verdict: judgeStatus(status, /^[a-z_]+$/.test(error || '')), status });
}

/**
 * load takes a snapshot of every entity, and before that the cursor from which
 * they are to be followed: what changes meanwhile is then told again.
 * onProgress is called as bytes arrive.
 */
export async function load(at: Address, entities: readonly string[], signal: AbortSignal, onProgress: () => void): Promise<{ cursor: string; snapshots: Snapshot[] }> {
  const now = await ask(pullURL(at, entities, 'now'), { signal });
  const { cursor } = (await now.json()) as { cursor: string };
  const one = async (entity: string) => {
    const response = await ask(snapshotURL(at, entity), { signal });
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, out) {
        onProgress();
        out.enqueue(chunk);
      },
    });
    return new Response(response.body?.pipeThrough(watch)).json() as Promise<Snapshot>;
  };
  return { cursor, snapshots: await Promise.all(entities.map(one)) };
}
