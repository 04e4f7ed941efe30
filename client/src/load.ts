import { judgeStatus, snapshotURL, type Snapshot } from './wire';

/** LoadError is a snapshot that could not be had, and what that means for the follower. */
export class LoadError extends Error {
  override readonly name = 'LoadError';
  constructor(readonly verdict: 'failed' | 'refused', message: string) {
    super(message);
  }
}

/** load takes a snapshot of every entity. onProgress is called as bytes arrive. */
export function load(base: string, entities: readonly string[], signal: AbortSignal, onProgress: () => void): Promise<Snapshot[]> {
  return Promise.all(entities.map((entity) => loadOne(snapshotURL(base, entity), signal, onProgress)));
}

async function loadOne(url: string, signal: AbortSignal, onProgress: () => void): Promise<Snapshot> {
  const response = await fetch(url, { signal, cache: 'no-store', headers: { accept: 'application/json' } });
  if (!response.ok || !response.body) throw new LoadError(judgeStatus(response.status), await describe(response));
  const watch = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, out) {
      onProgress();
      out.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(watch)).json() as Promise<Snapshot>;
}

async function describe(response: Response): Promise<string> {
  const answer = (await response.json().catch(() => ({}))) as { message?: string };
  const hint = response.status === 404 ? ' Is the entity tracked, and may this user read it?' : '';
  return `gormsync: GET ${response.url} answered ${response.status}: ${answer.message ?? response.statusText}${hint}`;
}
