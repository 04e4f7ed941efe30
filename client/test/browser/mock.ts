// A small server that speaks the wire contract over a log in memory, and lets
// a test decide what goes wrong.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Change, Row, ServerFrame } from '../../src/wire';

const script = readFileSync(new URL('../../dist/client.js', import.meta.url), 'utf8');
const page = (head: string, body: string) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mock</title><link rel="icon" href="data:,">${head}</head><body>${body}</body></html>`;
const tag = '<script src="/api/sync/client.js" data-entities="todos"></script>';

interface Subscribe {
  type: string;
  entities: string[];
  since: Record<string, string>;
  batch: boolean;
}

/** MockServer serves the client, a page, snapshots of its rows and its log. */
export class MockServer {
  /** Pages by path; each is the head and the body. */
  pages: Record<string, [string, string]> = { '/': [tag, ''] };
  /** Every subscribe message that arrived. */
  subscribes: Subscribe[] = [];
  /** Snapshots served, by entity. */
  snapshots: string[] = [];
  /** A cursor to give out with the snapshot of an entity, instead of the present one. */
  cursors: Record<string, string> = {};
  /** A status to answer the next snapshots with, instead of rows. */
  failWith: number[] = [];
  /** While true no frame is answered and none is sent: a half-open link. */
  frozen = false;
  /** While true upgrades are refused. */
  refuse = false;
  /** Pings that were answered. */
  pings = 0;

  readonly #log: Change[] = [];
  #rows = new Map<string, Change>();
  readonly #http = createServer((req, res) => this.#serve(req, res));
  readonly #ws = new WebSocketServer({ noServer: true });
  readonly #sockets = new Set<Socket>();

  /** listen starts the server and gives its address. */
  async listen(): Promise<string> {
    this.#http.on('connection', (socket) => this.#sockets.add(socket.on('close', () => this.#sockets.delete(socket))));
    this.#http.on('upgrade', (req, socket, head) => {
      if (this.refuse) return void socket.destroy();
      this.#ws.handleUpgrade(req, socket, head, (ws) => ws.on('message', (data) => this.#receive(ws, String(data))));
    });
    await new Promise<void>((done) => this.#http.listen(0, 'localhost', done));
    return `http://localhost:${(this.#http.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#sockets.forEach((socket) => socket.destroy());
    this.#http.close();
  }

  /** put writes a row, null deletes it; whoever follows is told. */
  put(id: string, data: Row | null, entity = 'todos'): void {
    this.transaction([[id, data]], entity);
  }

  /** transaction writes rows together. frames > 1 spreads them over that many frames. */
  transaction(rows: [string, Row | null][], entity = 'todos', frames = 1): void {
    const changes = rows.map(([id, data]) => this.#write(id, data, entity));
    const size = Math.ceil(changes.length / frames);
    for (let i = 0; i < changes.length; i += size) {
      const part = changes.slice(i, i + size);
      this.send(i + size < changes.length ? { type: 'changes', changes: part, more: true } : { type: 'changes', changes: part, cursor: this.cursor });
    }
  }

  /** send sends a frame to every socket. */
  send(frame: ServerFrame): void {
    if (!this.frozen) this.#ws.clients.forEach((ws) => ws.send(JSON.stringify(frame)));
  }

  /** drop closes all sockets: with a code politely, without one by cutting them. */
  drop(code?: number): void {
    this.#ws.clients.forEach((ws) => (code ? ws.close(code, 'test') : ws.terminate()));
  }

  /** restore puts other rows in place, as a backup would: all cursors given out so far expire. */
  restore(rows: Record<string, Row>): void {
    this.#epoch++;
    this.#log.length = 0;
    this.#rows = new Map();
    for (const [id, data] of Object.entries(rows)) this.#write(id, data, 'todos');
  }

  get cursor(): string {
    return `c${this.#epoch}-${this.#log.length}`;
  }

  get sockets(): number {
    return this.#ws.clients.size;
  }

  #epoch = 1;

  #write(id: string, data: Row | null, entity: string): Change {
    const version = this.#log.length + 1;
    const action = data === null ? 'delete' : this.#rows.has(`${entity}/${id}`) ? 'update' : 'create';
    const change: Change = { id: version, entity, entity_id: id, action, data, version, client_id: null, created_at: new Date().toISOString() };
    this.#log.push(change);
    if (data === null) this.#rows.delete(`${entity}/${id}`);
    else this.#rows.set(`${entity}/${id}`, change);
    return change;
  }

  #serve(req: IncomingMessage, res: ServerResponse): void {
    const path = new URL(req.url ?? '/', 'http://localhost').pathname;
    const entity = /^\/api\/sync\/(\w+)$/.exec(path)?.[1];
    if (path === '/api/sync/client.js') return void res.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    if (entity) return this.#snapshot(entity, res);
    const found = this.pages[path];
    if (!found) return void res.writeHead(404).end();
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page(...found));
  }

  #snapshot(entity: string, res: ServerResponse): void {
    const status = this.failWith.shift();
    if (status) return void res.writeHead(status).end(JSON.stringify({ error: 'test', message: `status ${status} for a test` }));
    this.snapshots.push(entity);
    const changes = [...this.#rows.values()].filter((c) => c.entity === entity).map((c) => ({ ...c, action: 'create' }));
    res.writeHead(200, { 'content-type': 'application/json' });
    const cursor = this.cursors[entity] ?? this.cursor;
    res.end(JSON.stringify({ entity, cursor, version: cursor.replace('c', 'v'), has_more: false, reset: false, changes }));
  }

  #receive(ws: WebSocket, data: string): void {
    if (this.frozen) return;
    const frame = JSON.parse(data) as Subscribe;
    const reply = (answer: ServerFrame) => ws.send(JSON.stringify(answer));
    if (frame.type === 'ping') {
      this.pings++;
      return reply({ type: 'pong' });
    }
    this.subscribes.push(frame);
    const places = new Map(Object.entries(frame.since).map(([entity, cursor]) => [entity, cursor.slice(1).split('-').map(Number)]));
    if ([...places.values()].some(([epoch]) => epoch !== this.#epoch)) return reply({ type: 'reset', reason: 'other epoch' });
    const changes = this.#log.filter((change) => change.version > (places.get(change.entity)?.[1] ?? Infinity));
    reply({ type: 'subscribed', entities: frame.entities, cursor: this.cursor });
    if (changes.length) reply({ type: 'changes', changes, cursor: this.cursor });
  }
}
