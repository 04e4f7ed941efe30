import { eventsURL, judgeClose, pullURL, socketURL, type Address, type ClientFrame } from './wire.js';
import { ask, type LoadError } from './load.js';

/** What a link tells its owner. It never calls from within the call that opens it, and never after close. */
export interface LinkEvents {
  opened: () => void;
  failed: (verdict: 'failed' | 'refused' | 'reset', reason: string) => void;
  received: (frame: string) => void;
}

/** Link is one live connection. It is used once: after a failure its owner opens another. */
export interface Link {
  /** send sends a frame; a link that cannot send drops it. */
  send(frame: ClientFrame): void;
  close(): void;
}

/** openSocket opens a WebSocket. */
export function openSocket(at: Address, on: LinkEvents): Link {
  const ws = new WebSocket(socketURL(at));
  ws.onopen = on.opened;
  ws.onmessage = (e) => on.received(e.data as string);
  ws.onclose = (e) => on.failed(judgeClose(e.code), e.reason || `closed with ${e.code}`);
  return {
    send: (frame) => ws.readyState === 1 && ws.send(JSON.stringify(frame)),
    close() {
      ws.onopen = ws.onmessage = ws.onclose = null;
      ws.close();
    },
  };
}

/** places lists the cursors and the entities that stand there. */
export function places(cursors: Record<string, string>): [cursor: string, entities: string[]][] {
  const found = new Map<string, string[]>();
  for (const [entity, cursor] of Object.entries(cursors)) found.set(cursor, [...(found.get(cursor) ?? []), entity]);
  return [...found];
}

/**
 * openEvents opens server-sent events, one stream for each place: usually one.
 * What arrives looks as if it came over a WebSocket.
 */
export function openEvents(at: Address, cursors: Record<string, string>, on: LinkEvents): Link {
  const streams = places(cursors).map(([cursor, entities]) => {
    const stream = new EventSource(eventsURL(at, entities, cursor));
    const frame = (type: string, rest: (e: MessageEvent<string>) => string) =>
      stream.addEventListener(type, (e) => on.received(`{"type":${rest(e)},"cursor":${JSON.stringify(e.lastEventId)}}`));
    frame('sync', (e) => `"change","change":${e.data}`);
    frame('heartbeat', () => `"heartbeat","entities":${JSON.stringify(entities)}`);
    frame('reset', () => `"reset","entities":${JSON.stringify(entities)}`);
    stream.onopen = on.opened;
    stream.onerror = () => void why(at, entities, cursor).then(({ verdict = 'failed', message = 'the stream was cut' }) => stream.onerror && on.failed(verdict, message));
    return stream;
  });
  return {
    send: ({ type }) => type === 'subscribe' && queueMicrotask(() => on.received('{"type":"subscribed"}')), // the address said it all
    close() {
      for (const stream of streams) {
        stream.onopen = stream.onerror = null;
        stream.close();
      }
    },
  };
}

/** why asks in a way that shows the answer: a stream that fails does not say what happened. */
function why(at: Address, entities: string[], cursor: string): Promise<Partial<LoadError>> {
  return ask(`${pullURL(at, entities, cursor)}&limit=1`, {}).then(() => ({}), (error) => error as LoadError);
}
