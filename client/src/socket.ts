import ReconnectingWebSocket from 'partysocket/ws';
import { judgeClose, type ClientFrame } from './wire';

/** What a Socket tells its owner. It never calls from within a call to the Socket. */
export interface SocketEvents {
  opened(): void;
  closed(verdict: 'closed' | 'refused', reason: string): void;
  received(data: string): void;
}

/**
 * Socket is a WebSocket that is opened again when it closes. The pause before
 * each try is its owner's: partysocket's own delays have no jitter and cannot
 * be cut short, so they are zero here and the pause is spent in fetching the URL.
 */
export class Socket {
  readonly #ws: ReconnectingWebSocket;
  #muted = false;
  #pause = 0;
  #hurry = () => {};

  constructor(url: string, events: SocketEvents) {
    this.#ws = new ReconnectingWebSocket(() => this.#paused().then(() => url), [], {
      startClosed: true,
      maxEnqueuedMessages: 0,
      minReconnectionDelay: 0,
      maxReconnectionDelay: 0,
      connectionTimeout: 10_000,
    });
    this.#ws.onopen = () => events.opened();
    this.#ws.onmessage = (e) => events.received(String(e.data));
    this.#ws.onclose = (e) => {
      if (!this.#muted) events.closed(judgeClose(e.code), e.reason);
    };
  }

  /** open opens the socket after a pause; what was open before is dropped. */
  open(pause: number): void {
    this.#pause = pause;
    this.#quietly(() => this.#ws.reconnect());
  }

  /** hurry ends the pause. */
  hurry(): void {
    this.#pause = 0;
    this.#hurry();
  }

  /** close closes the socket and leaves it closed. */
  close(): void {
    this.#quietly(() => this.#ws.close());
    this.hurry();
  }

  /** send sends a frame; on a socket that is not open it is dropped. */
  send(frame: ClientFrame): void {
    this.#ws.send(JSON.stringify(frame));
  }

  #quietly(act: () => void): void {
    this.#muted = true;
    act();
    this.#muted = false;
  }

  #paused(): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, this.#pause);
      this.#hurry = () => (clearTimeout(timer), done());
    });
  }
}
