// A small server that speaks the wire contract over a log in memory, and lets
// a test decide what goes wrong.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Change, PushChange, PushResult, Row, ServerFrame } from '../../src/wire';

const script = readFileSync(new URL('../../dist/client.js', import.meta.url), 'utf8');
const page = (head: string, body: string) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mock</title><link rel="icon" href="data:,">${head}</head><body>${body}</body></html>`;
const tag = '<script src="/api/sync/client.js" data-entities="todos"></script>';

interface Subscribe {
  type: string;
  entities: string[];
  since: Record<string, string>;
  batch: boolean;
}

/** MockServer serves the client, a page, snapshots of its rows and its log, and takes pushes. */
export class MockServer {
  /** Pages by path; each is the head and the body. */
  pages: Record<string, [string, string]> = { '/': [tag, ''] };
  /** Files by path; each is its type and text. */
  files: Record<string, [type: string, text: string]> = {};
  /** Every subscribe message that arrived. */
  subscribes: Subscribe[] = [];
  /** Snapshots served, by entity. */
  snapshots: string[] = [];
  /** Event streams opened, by query. */
  streams: string[] = [];
  /** Every push that arrived. */
  pushes: PushChange[][] = [];
  /** Mutations that were carried out. */
  applied: string[] = [];
  /** A cursor to give out before the snapshot of an entity, instead of the present one. */
  cursors: Record<string, string> = {};
  /** A status to answer the next snapshots with, instead of rows. */
  failWith: number[] = [];
  /** A status to answer the next pushes with; 0 carries the push out and cuts the connection. */
  failPush: number[] = [];
  /** While true no frame is answered and none is sent: a half-open link. */
  frozen = false;
  /** While true upgrades are refused. */
  refuse = false;
  /** While true only pages and the script are served. */
  down = false;
  /** While set, a proxy before the server answers everything but pages and the script with this status and a page of its own. */
  lost = 0;
  /** A status that the proxy answers the next pushes with, and what it says. */
  lostPushes: [status: number, type: string, text: string][] = [];
  /** Resolved before a push is answered, after it was carried out. */
  hold: Promise<unknown> | undefined;
  /** Pings that were answered. */
  pings = 0;

  readonly #log: Change[] = [];
  #rows = new Map<string, Change>();
  #results = new Map<string, PushResult>();
  #epoch = 1;
  readonly #events = new Set<ServerResponse>();
  readonly #http = createServer((req, res) => void this.#serve(req, res));
  readonly #ws = new WebSocketServer({ noServer: true });
  readonly #sockets = new Set<Socket>();

  /** listen starts the server and gives its address. */
  async listen(): Promise<string> {
    this.#http.on('connection', (socket) => this.#sockets.add(socket.on('close', () => this.#sockets.delete(socket))));
    this.#http.on('upgrade', (req, socket, head) => {
      if (this.lost) return void socket.end(`HTTP/1.1 ${this.lost} Lost\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      if (this.refuse || this.down) return void socket.destroy();
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
  put(id: string, data: Row | null, entity = 'todos', by: Partial<Change> = {}): Change {
    const change = this.#write(id, data, entity, by);
    this.#publish([change]);
    return change;
  }

  /** row is what the server holds. */
  row(id: string, entity = 'todos'): Row | null {
    return this.#rows.get(`${entity}/${id}`)?.data ?? null;
  }

  /** transaction writes rows together. frames > 1 spreads them over that many frames. */
  transaction(rows: [string, Row | null][], entity = 'todos', frames = 1): void {
    this.#publish(rows.map(([id, data]) => this.#write(id, data, entity)), frames);
  }

  /** send sends a frame to every socket. */
  send(frame: ServerFrame): void {
    if (!this.frozen) this.#ws.clients.forEach((ws) => ws.send(JSON.stringify(frame)));
  }

  /** drop closes all live connections: with a code politely, without one by cutting them. */
  drop(code?: number): void {
    this.#ws.clients.forEach((ws) => (code ? ws.close(code, 'test') : ws.terminate()));
    this.#events.forEach((res) => res.destroy());
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

  /** Live connections that are open. */
  get sockets(): number {
    return this.#ws.clients.size + this.#events.size;
  }

  #publish(changes: Change[], frames = 1): void {
    const size = Math.ceil(changes.length / frames);
    for (let i = 0; i < changes.length; i += size) {
      const part = changes.slice(i, i + size);
      this.send(i + size < changes.length ? { type: 'changes', changes: part, more: true } : { type: 'changes', changes: part, cursor: this.cursor });
    }
    if (!this.frozen) this.#events.forEach((res) => this.#tell(res, changes));
  }

  #tell(res: ServerResponse, changes: Change[]): void {
    for (const change of changes) res.write(`event: sync\nid: ${this.cursor}\ndata: ${JSON.stringify(change)}\n\n`);
  }

  #write(id: string, data: Row | null, entity: string, by: Partial<Change> = {}): Change {
    const version = this.#log.length + 1;
    const action = data === null ? 'delete' : this.#rows.has(`${entity}/${id}`) ? 'update' : 'create';
    const change: Change = { id: version, entity, entity_id: id, action, data, version, client_id: null, created_at: new Date().toISOString(), ...by };
    this.#log.push(change);
    if (data === null) this.#rows.delete(`${entity}/${id}`);
    else this.#rows.set(`${entity}/${id}`, change);
    return change;
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    if (pathname === '/api/sync/client.js') return void res.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    if (!pathname.startsWith('/api/')) {
      const file = this.files[pathname];
      if (file) return void res.writeHead(200, { 'content-type': `${file[0]}; charset=utf-8` }).end(file[1]);
      const found = this.pages[pathname];
      if (!found) return void res.writeHead(404).end();
      return void res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page(...found));
    }
    if (this.down) return void res.destroy();
    if (this.lost) return void res.writeHead(this.lost, { 'content-type': 'text/html' }).end('<h1>A page of the proxy</h1>');
    const entities = searchParams.get('entities')?.split(',') ?? [];
    const since = searchParams.get('since') ?? '';
    if (pathname === '/api/sync' && req.method === 'POST') return this.#push(await text(req), res);
    if (pathname === '/api/sync') return this.#pull(entities, since, res);
    if (pathname === '/api/sync/events') return this.#stream(entities, since, res);
    this.#snapshot(pathname.slice('/api/sync/'.length), res);
  }

  #pull(entities: string[], since: string, res: ServerResponse): void {
    if (since === 'now') return json(res, 200, { cursor: this.cursors[entities[0] ?? ''] ?? this.cursor, changes: [], has_more: false });
    if (!this.#valid(since)) return json(res, 410, { error: 'cursor_expired', message: 'other epoch', reset: true });
    json(res, 200, { cursor: this.cursor, changes: this.#after(entities, since), has_more: false, reset: [] });
  }

  #stream(entities: string[], since: string, res: ServerResponse): void {
    this.streams.push(`${entities} ${since}`);
    if (!this.#valid(since)) return json(res, 410, { error: 'cursor_expired', message: 'other epoch' });
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    res.flushHeaders();
    this.#events.add(res.on('close', () => this.#events.delete(res)));
    this.#tell(res, this.#after(entities, since));
  }

  #snapshot(entity: string, res: ServerResponse): void {
    const status = this.failWith.shift();
    if (status) return json(res, status, { error: 'test', message: `status ${status} for a test` });
    this.snapshots.push(entity);
    const changes = [...this.#rows.values()].filter((c) => c.entity === entity).map((c) => ({ ...c, action: 'create', client_id: null }));
    json(res, 200, { entity, cursor: this.cursor, version: this.cursor.replace('c', 'v'), has_more: false, reset: false, changes });
  }

  async #push(body: string, res: ServerResponse): Promise<void> {
    const status = this.failPush.shift();
    const lost = this.lostPushes.shift();
    if (lost) return void res.writeHead(lost[0], { 'content-type': lost[1] }).end(lost[2]);
    const { changes, client_id } = JSON.parse(body) as { client_id: string; changes: PushChange[] };
    this.pushes.push(changes);
    if (status) return json(res, status, { error: 'test', message: `status ${status} for a test` });
    const results = changes.map((change) => this.#carryOut(change, client_id));
    await this.hold;
    if (status === 0) return void res.destroy();
    json(res, 200, { cursor: this.cursor, applied: [], conflicts: [], results });
  }

  /** The strategy is the server's: an edit that is based on another version is a conflict. */
  #carryOut(change: PushChange, client_id: string): PushResult {
    const { entity, id, mutation_id, action, data, client_version } = change;
    const known = `${client_id}/${mutation_id}`;
    const before = this.#rows.get(`${entity}/${id}`);
    const done = this.#results.get(known);
    if (done) return { ...done, status: done.status === 'applied' ? 'duplicate' : done.status };
    const answer = (status: PushResult['status'], rest: Partial<PushResult> = {}): PushResult => {
      const result = { id, mutation_id, status, version: before?.version ?? 0, data: before?.data ?? null, ...rest };
      this.#results.set(known, result);
      return result;
    };
    if (data?.['title'] === 'forbidden') return answer('rejected', { error: { code: 'invalid', message: 'This title is not allowed.' } });
    if (before && action !== 'create' && client_version !== before.version) return answer('conflict');
    if (!before && action === 'update') return answer('conflict');
    this.applied.push(mutation_id);
    const key = data?.['numbered'] ? String(this.#log.length + 1) : id;
    const written = this.put(key, action === 'delete' ? null : { ...before?.data, ...data, id: key, touched: true }, entity, { client_id, mutation_id });
    return answer('applied', { id: key, version: written.version, data: written.data });
  }

  #valid(since: string): boolean {
    return since.startsWith(`c${this.#epoch}-`);
  }

  #after(entities: string[], since: string): Change[] {
    return this.#log.filter((change) => entities.includes(change.entity) && change.version > Number(since.split('-')[1]));
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
    const places = Object.entries(frame.since);
    if (!places.every(([, cursor]) => this.#valid(cursor))) return reply({ type: 'reset', reason: 'other epoch' });
    const changes = places.flatMap(([entity, cursor]) => this.#after([entity], cursor)).sort((a, b) => a.version - b.version);
    reply({ type: 'subscribed', entities: frame.entities, cursor: this.cursor });
    if (changes.length) reply({ type: 'changes', changes, cursor: this.cursor });
  }
}

function json(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function text(req: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of req) body += String(chunk);
  return body;
}
