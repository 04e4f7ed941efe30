// src/emitter.ts
var Emitter = class {
  #listeners = /* @__PURE__ */ new Map();
  /** on adds a listener and returns the function that removes it. */
  on(name, listener) {
    const own = (event) => listener(event);
    const all2 = this.#listeners.get(name) ?? /* @__PURE__ */ new Set();
    this.#listeners.set(name, all2.add(own));
    return () => all2.delete(own);
  }
  /** emit calls the listeners; one that throws is reported and does not keep the others from it. */
  emit(name, event) {
    for (const listener of [...this.#listeners.get(name) ?? []]) {
      try {
        listener(event);
      } catch (error) {
        reportError(error);
      }
    }
  }
};

// src/outbox.ts
function move(edits, { entity, id, to, version }) {
  return edits.map((e) => {
    if (e.seq === void 0 || e.entity !== entity || e.id !== id) return e;
    e = { ...e, id: to, client_version: version ?? e.client_version };
    version = void 0;
    return e;
  });
}
function nextBatch(outbox, limit) {
  const rows = /* @__PURE__ */ new Set();
  const first = outbox.filter(({ entity, id }) => rows.size < rows.add(JSON.stringify([entity, id])).size);
  return first.slice(0, limit);
}
function settle(outbox, sent, results) {
  const to = { gone: [], moves: [], rows: [], outcomes: [] };
  for (const entry of sent) {
    const result2 = results.find((r) => r.mutation_id === entry.mutation_id);
    if (result2 && result2.status !== "retry") settleOne(to, entry, outbox, result2);
  }
  return to;
}
function settleOne(to, entry, outbox, { id, status: status2, version, data, conflicts, error }) {
  const { entity } = entry;
  if (version !== void 0 && data !== void 0) to.rows.push({ entity, id, version, data });
  const final = status2 === "duplicate" ? "applied" : status2;
  const lost = final === "conflict" || final === "rejected" && entry.action === "create";
  const gone = lost ? outbox.filter((e) => e.seq !== void 0 && e.entity === entity && e.id === entry.id) : [entry];
  gone.forEach(({ mutation_id, action, data: mine }, i) => to.outcomes.push({ entity, id, mutation_id, action, status: final, mine, theirs: data ?? null, conflicts: i ? void 0 : conflicts, error }));
  to.gone.push(...gone);
  to.moves.push({ entity, id: entry.id, to: id, version });
}

// src/rows.ts
var same = (a, b) => a === b || !!a && !!b && Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((key) => a[key] === b[key] || JSON.stringify(a[key]) === JSON.stringify(b[key]));
function newest(rows) {
  const last = /* @__PURE__ */ new Map();
  for (const row of rows) {
    const key = `${row.entity}\0${row.id}`;
    if (row.version >= (last.get(key)?.version ?? 0)) last.set(key, row);
  }
  return [...last.values()];
}
var Rows = class {
  #held = /* @__PURE__ */ new Map();
  #edits = [];
  #over = /* @__PURE__ */ new Map();
  #stale = false;
  #list = null;
  /** held is what the server said of a row. */
  held(id) {
    return this.#held.get(id);
  }
  /** known is every row that the server spoke of. */
  known() {
    return this.#held.values();
  }
  /**
   * put takes the server's word on a row, unless it is older than what is held:
   * versions of a row only grow, so then it was delivered a second time.
   */
  put(row) {
    if (row.version < (this.#held.get(row.id)?.version ?? 0)) return;
    this.#held.set(row.id, row);
    this.#changed();
  }
  /**
   * clear forgets what the server said. What comes after may be older: after a
   * restored backup versions are smaller than they were.
   */
  clear() {
    this.#held.clear();
    this.#changed();
  }
  /** edit lays these edits over the rows, instead of those before. */
  edit(edits) {
    this.#edits = edits;
    this.#changed();
  }
  /** add lays one more edit on top. */
  add(edit) {
    this.#edits = [...this.#edits, edit];
    if (!this.#stale) this.#layOne(edit);
    this.#list = null;
  }
  /** get is the row with that id, edits included. */
  get(id) {
    if (this.#stale) this.#lay();
    return (this.#over.has(id) ? this.#over.get(id) : this.#held.get(id)?.data) ?? void 0;
  }
  /** all lists the rows. It is the same array until something changes. */
  all() {
    if (this.#stale) this.#lay();
    return this.#list ??= [.../* @__PURE__ */ new Set([...this.#held.keys(), ...this.#over.keys()])].flatMap((id) => this.get(id) ?? []);
  }
  #changed() {
    this.#stale = true;
    this.#list = null;
  }
  #lay() {
    this.#stale = false;
    this.#over.clear();
    this.#edits.forEach((edit) => this.#layOne(edit));
  }
  /** An update of a row that is gone brings nothing back: the server is going to refuse it. */
  #layOne({ id, action, data }) {
    const before = this.get(id);
    this.#over.set(id, action === "create" ? { id, ...before, ...data } : action === "update" && before ? { ...before, ...data } : null);
  }
};

// src/store.ts
var rowsStore = "rows";
var outboxStore = "outbox";
var metaStore = "meta";
var all = [rowsStore, outboxStore, metaStore];
function result(request) {
  return new Promise((found, failed) => {
    request.onsuccess = () => found(request.result);
    request.onerror = () => failed(request.error);
  });
}
var readLog = async (tx) => (await result(tx.objectStore(rowsStore).getAll())).flat();
function append(log, rows) {
  for (let at = 0; at < rows.length; at += 100) log.add(rows.slice(at, at + 100));
}
function newStore(name, memory) {
  let connection;
  let room = 0;
  const ends = [];
  async function open() {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      const db2 = request.result;
      const log = db2.createObjectStore(rowsStore, { autoIncrement: true });
      const outbox = db2.createObjectStore(outboxStore, { keyPath: "seq", autoIncrement: true });
      outbox.createIndex("row", ["entity", "id"]);
      const meta = db2.createObjectStore(metaStore);
      for (const entry of memory.outbox) if (entry.seq) outbox.put(entry);
      meta.put(memory.clientID, "client_id");
      if (!store.rows) return;
      append(log, memory.everything().rows);
      meta.put(memory.cursors, "cursors");
    };
    const db = await result(request);
    const again2 = () => {
      close();
      store.outbox().catch(() => {
      });
    };
    db.onversionchange = again2;
    db.onclose = () => {
      for (const end of ends) end();
      again2();
    };
    return db;
  }
  function close() {
    connection?.then((db) => db.close(), () => {
    });
    connection = void 0;
  }
  async function run(work, tries = 3) {
    try {
      return await work(await (connection ??= open()));
    } catch (error) {
      if (!tries) throw error;
      close();
      await new Promise((done) => setTimeout(done, 300));
      return run(work, tries - 1);
    }
  }
  async function write(work, options) {
    const once = () => run(async (db) => {
      const tx = db.transaction(all, "readwrite", options);
      const complete = new Promise((done, failed) => {
        ends.push(failed);
        tx.oncomplete = done;
        tx.onabort = () => failed(tx.error);
      }).finally(() => ends.shift());
      await Promise.all([complete, work(tx)]).catch((error) => {
        throw tx.error ?? error;
      });
    });
    try {
      await once();
    } catch (error) {
      if (!store.rows || error?.name !== "QuotaExceededError") throw error;
      store.rows = false;
      await store.clear([rowsStore]);
      await once();
    }
  }
  const store = {
    rows: true,
    close,
    load: () => run(async (db) => {
      const tx = db.transaction(all);
      const [log, outbox, cursors] = await Promise.all([
        readLog(tx),
        result(tx.objectStore(outboxStore).getAll()),
        result(tx.objectStore(metaStore).get("cursors"))
      ]);
      const rows = newest(log);
      room = 100 + 2 * rows.length - log.length;
      return { rows, outbox, cursors: cursors ?? {} };
    }),
    outbox: () => run((db) => result(db.transaction(outboxStore).objectStore(outboxStore).getAll())),
    async clientID(make) {
      let id = "";
      await write(async (tx) => {
        const meta = tx.objectStore(metaStore);
        id = await result(meta.get("client_id")) ?? make();
        meta.put(id, "client_id");
      });
      return id;
    },
    async add(entry) {
      let added;
      await write(async (tx) => {
        const outbox = tx.objectStore(outboxStore);
        const { entity, id, action, client_version } = entry;
        if (client_version === void 0 && action !== "create" && !await result(outbox.index("row").count([entity, id]))) entry.client_version = newest(await readLog(tx)).find((row) => row.entity === entity && row.id === id)?.version;
        added = outbox.add(entry);
      }, { durability: "strict" });
      entry.seq = added?.result;
    },
    settle: (gone, moves, rows) => write(async (tx) => {
      const outbox = tx.objectStore(outboxStore);
      for (const { seq } of gone) outbox.delete(seq);
      for (const to of moves) for (const entry of move(await result(outbox.index("row").getAll([to.entity, to.id])), to)) outbox.put(entry);
      room -= rows.length;
      if (store.rows) append(tx.objectStore(rowsStore), rows);
    }),
    page: (rows, cursors, whole, alone) => write(async (tx) => {
      if (!store.rows) return;
      const log = tx.objectStore(rowsStore);
      room -= rows.length;
      if (whole.length || room < 0) {
        const kept = (await readLog(tx)).filter(({ entity }) => !whole.includes(entity));
        rows = newest([...kept, ...rows]).filter(({ data }) => data || !alone || memory.outbox.length);
        room = 100 + rows.length;
        log.clear();
      }
      append(log, rows);
      const meta = tx.objectStore(metaStore);
      const stored = await result(meta.get("cursors")) ?? {};
      for (const entity in cursors) if (stored[entity] || whole.includes(entity)) stored[entity] = cursors[entity];
      meta.put(stored, "cursors");
    }),
    clear: (names = all) => write((tx) => {
      for (const name2 of names) tx.objectStore(name2).clear();
      tx.objectStore(metaStore).delete("cursors");
    })
  };
  return store;
}

// src/replica.ts
function uuid() {
  return "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) => (+c ^ crypto.getRandomValues(new Uint8Array(1))[0] & 15 >> +c / 4).toString(16));
}
var Replica = class {
  /** Names this device to the server. */
  clientID = uuid();
  cursors = {};
  outbox = [];
  /** Whether no other tab writes rows. */
  alone = true;
  #name;
  #events;
  #store;
  #opened;
  #tables = /* @__PURE__ */ new Map();
  #last = Promise.resolve();
  #refresh;
  /** Counts how often the outbox was read. */
  #reads = 0;
  /** What the feed brought and the store has not begun to take in. */
  #batch;
  /** Counts the times that this tab gave up leading: what was begun before is not written any more. */
  #reign = 0;
  /** Rows that pushes brought while snapshots were being taken, which may be older. */
  #pushed = [];
  constructor(name, events) {
    this.#name = name;
    this.#events = events;
  }
  /** Whether edits survive the page: false without IndexedDB. */
  get persistent() {
    return !!this.#store;
  }
  /** Whether another tab could show the rows from the store. */
  get shared() {
    return !!this.#store?.rows;
  }
  /** table is the rows of an entity. */
  table(entity) {
    let rows = this.#tables.get(entity);
    if (!rows) this.#tables.set(entity, rows = new Rows());
    return rows;
  }
  /** open finds out whether there is a store. */
  open() {
    return this.#opened = Promise.resolve(this.#opened).then(() => this.#open());
  }
  async #open() {
    const store = newStore(this.#name, this);
    try {
      this.clientID = await Promise.race([store.clientID(uuid), late()]);
      this.#store = store;
    } catch (error) {
      this.#without(error);
    }
  }
  /** load takes over what is stored. A store that cannot be read is not used. */
  load() {
    return this.#serially(async () => {
      try {
        const saved = this.shared && await this.#store?.load();
        if (!saved) return;
        this.cursors = saved.cursors;
        if (Object.keys(saved.cursors).length) this.#put(saved.rows, [...this.#tables.keys()], "tab");
        await this.#reread();
      } catch (error) {
        this.#without(error);
      }
    });
  }
  /** written takes over what another tab wrote. */
  async written({ rows, whole = [], cursors, outbox, outcomes }) {
    if (rows)
      await this.#serially(async () => {
        if (cursors) this.cursors = cursors;
        this.#put(rows, whole, "remote", "tab");
      });
    if (outbox) await this.refresh();
    outcomes?.forEach((outcome) => this.#events.outcome(outcome));
  }
  /** refresh reads the outbox, which every tab writes: the store alone knows the order. One that waits for its turn does for all. */
  refresh() {
    return this.#refresh ??= this.#serially(() => {
      this.#refresh = void 0;
      return this.#reread();
    });
  }
  /** everything is what a tab needs that cannot read it from the store. */
  everything() {
    const whole = [...this.#tables.keys()];
    return { whole, cursors: this.cursors, rows: whole.flatMap((entity) => [...this.table(entity).known()]) };
  }
  /** loading: snapshots are being taken from now on. */
  loading() {
    this.#pushed = [];
  }
  /** replace puts snapshots in the place of all rows of their entities. */
  replace(snapshots, cursors) {
    this.#batch = void 0;
    return this.#leading(async () => {
      const rows = newest([...snapshots.flatMap(({ changes }) => changes.map(toHeld)), ...this.#pushed]);
      await this.#page(rows, snapshots.map(({ entity }) => entity), cursors);
    });
  }
  /** apply takes changes of the feed. Those that come while the store is busy are stored together. */
  apply(changes, cursors) {
    this.loading();
    if (this.#batch) {
      for (const change of changes) this.#batch.changes.push(change);
      this.#batch.cursors = cursors;
      return this.#last;
    }
    const batch = this.#batch = { changes: [...changes], cursors };
    return this.#leading(async () => {
      if (this.#batch === batch) this.#batch = void 0;
      const rows = newest(batch.changes.map(toHeld)).filter((row) => row.version >= (this.table(row.entity).held(row.id)?.version ?? 0));
      await this.#page(rows, [], batch.cursors);
    });
  }
  /** edit queues an edit. Its promise is fulfilled when it is stored. */
  edit(entity, action, id, data) {
    const entry = { mutation_id: uuid(), entity, id, action, data, timestamp: (/* @__PURE__ */ new Date()).toISOString() };
    const table2 = this.table(entity);
    this.#base(entry);
    const before = table2.get(id);
    this.outbox = [...this.outbox, entry];
    table2.add(entry);
    if (!same(before, table2.get(id))) this.#events.changed(entity, [id], "local");
    this.#events.pending(this.outbox.length);
    return { entry, stored: this.#add(entry) };
  }
  /** settle takes the server's answers to pushed edits. */
  settle(sent, results) {
    return this.#serially(async () => {
      const { gone, moves, rows, outcomes } = settle(this.outbox, sent, results);
      const own = rows.map((row) => ({ ...row, by: this.clientID }));
      this.#pushed.push(...own);
      await this.#store?.settle(gone, moves, own);
      const ids = new Set(gone.map((entry) => entry.mutation_id));
      this.#put(own, [], "local", "local", moves.reduce(move, this.outbox.filter((e) => !ids.has(e.mutation_id))));
      this.#events.written({ rows: own, outbox: true, outcomes });
      outcomes.forEach((outcome) => this.#events.outcome(outcome));
    });
  }
  /** idle is fulfilled when nothing is being written any more; what the feed brought and is not stored yet is forgotten. */
  async idle() {
    this.#reign++;
    this.#batch = void 0;
    await this.#last;
  }
  /** clear forgets everything, here and in the store. */
  async clear() {
    await this.#serially(async () => {
      await this.#store?.clear();
      this.#store?.close();
      this.forget();
    });
  }
  /** forget empties this tab's copy. */
  forget() {
    this.cursors = {};
    this.#put([], [...this.#tables.keys()], "tab", "tab", []);
  }
  #without(error) {
    console.warn(`gormsync: edits are not stored: ${error}`);
    this.#store = void 0;
  }
  /** An edit is based on the row as it is held; behind another one of its row on that one's answer, which is not there yet. */
  #base(entry) {
    const { entity, id } = entry;
    const front = this.outbox.find((e) => e.entity === entity && e.id === id) ?? entry;
    const held = this.table(entity).held(id);
    if (front === entry && held?.data) entry.client_version ??= held.version;
  }
  async #add(entry) {
    await (this.#opened ??= this.#open().then(() => this.load()));
    await this.#last;
    this.#base(entry);
    const reads = this.#reads;
    try {
      if (this.#store) await this.#store.add(entry);
      else entry.seq = 0;
    } catch (error) {
      this.#put([], [], "local", "local", this.outbox.filter((e) => e.mutation_id !== entry.mutation_id));
      const { entity, id, mutation_id, action, data } = entry;
      const message = `The edit was not stored: ${error}`;
      this.#events.outcome({ entity, id, mutation_id, action, status: "rejected", mine: data, theirs: this.table(entity).get(id) ?? null, error: { code: "not_stored", message } });
      throw error;
    }
    if (reads < this.#reads) this.refresh().catch(() => {
    });
    this.#events.written({ outbox: true });
  }
  async #page(rows, whole, cursors) {
    try {
      await this.#store?.page(rows, cursors, whole, this.alone);
    } catch (error) {
      if (this.#store) this.#store.rows = false;
      console.warn(`gormsync: rows are not stored: ${error}`);
    }
    this.cursors = cursors;
    this.#put(rows, whole, "remote", whole.length ? "remote" : "local");
    this.#events.written({ rows, whole, cursors });
  }
  /** What other tabs stored; this tab's own edits may be on their way into the store. */
  async #reread() {
    if (!this.#store) return;
    this.#reads++;
    const before = new Set(this.outbox.filter((e) => e.seq).map((e) => e.mutation_id));
    const stored = await this.#store.outbox();
    const found = new Set(stored.map((e) => e.mutation_id));
    this.#put([], [], "tab", "tab", [...stored, ...this.outbox.filter(({ mutation_id: id }) => !before.has(id) && !found.has(id))]);
  }
  /** Everything that changes rows comes through here, so that listeners hear of it once, when all is in place. */
  #put(rows, whole, theirs, own = theirs, outbox = this.outbox) {
    const touched = /* @__PURE__ */ new Map();
    const touch = (entity, id, source) => touched.set(`${entity}\0${id}`, [entity, id, source, this.table(entity).get(id)]);
    const edited = outbox !== this.outbox;
    for (const entity of whole) for (const { id } of this.table(entity).known()) touch(entity, id, theirs);
    if (edited) for (const { entity, id } of [...this.outbox, ...outbox]) touch(entity, id, own);
    for (const { entity, id, by } of rows) touch(entity, id, by === this.clientID ? own : theirs);
    for (const entity of whole) this.table(entity).clear();
    for (const row of rows) this.table(row.entity).put(row);
    if (edited) {
      this.outbox = outbox;
      for (const [entity, table2] of this.#tables) table2.edit(outbox.filter((e) => e.entity === entity));
    }
    const told = /* @__PURE__ */ new Map();
    for (const [entity, id, source, before] of touched.values()) {
      if (same(before, this.table(entity).get(id))) continue;
      const key = `${entity} ${source}`;
      if (!told.has(key)) told.set(key, [entity, [], source]);
      told.get(key)[1].push(id);
    }
    for (const event of told.values()) this.#events.changed(...event);
    if (edited) this.#events.pending(outbox.length);
  }
  #leading(job) {
    const reign = this.#reign;
    return this.#serially(async () => {
      if (reign === this.#reign) await job();
    });
  }
  #serially(job) {
    const done = this.#last.then(job);
    this.#last = done.catch(() => {
    });
    return done;
  }
};
function toHeld({ entity, entity_id, version, action, data, client_id }) {
  return { entity, id: entity_id, version, data: action === "delete" ? null : data, by: client_id };
}
var late = () => new Promise((_, failed) => setTimeout(failed, 5e3, "no answer"));

// src/collection.ts
var Collection = class {
  #rows;
  #edit;
  #emitter = new Emitter();
  /** @internal */
  constructor(rows, edit) {
    this.#rows = rows;
    this.#edit = edit;
  }
  /** get is the row with that primary key, written as text. */
  get(id) {
    return this.#rows.get(id);
  }
  /** all lists the rows in no particular order. It is the same array as long as no row changed. */
  all() {
    return this.#rows.all();
  }
  /**
   * insert adds a row, here at once and then on the server. Its key is `id`, or
   * the row's own `id`, or a new UUID; a key that the database makes takes the
   * place of that one when the server answers.
   */
  insert(row, id = String(row["id"] ?? uuid())) {
    return this.#edit("create", id, plain(row));
  }
  /** update sets some fields of a row. */
  update(id, fields) {
    return this.#edit("update", id, plain(fields));
  }
  /** delete deletes a row. */
  delete(id) {
    return this.#edit("delete", id, null);
  }
  /** subscribe calls back with all rows, now and after every change, and returns the function that ends it. */
  subscribe(listener) {
    const end = this.#emitter.on("rows", () => listener(this.all()));
    listener(this.all());
    return end;
  }
  /** @internal */
  tell() {
    this.#emitter.emit("rows", void 0);
  }
};
var plain = (fields) => JSON.parse(JSON.stringify(fields));

// src/wire.ts
function subscribe(since) {
  return { type: "subscribe", entities: Object.keys(since), since, batch: true };
}
var ping = { type: "ping" };
function changesOf(frame) {
  if (frame.type === "leave") return [{ ...frame, id: frame.version, action: "delete", data: null }];
  return frame.type === "changes" ? frame.changes : frame.type === "change" ? [frame.change] : [];
}
var url = ({ base, user }, route, query = {}) => `${base}/sync${route}?${new URLSearchParams({ ...query, ...user && { user } })}`;
var snapshotURL = (at, entity) => url(at, `/${encodeURIComponent(entity)}`);
var pullURL = (at, entities, since, route = "") => url(at, route, { entities: entities.join(), since });
var eventsURL = (at, entities, since) => pullURL(at, entities, since, "/events");
var pushURL = (at) => url(at, "");
var socketURL = (at) => url(at, "/ws").replace(/^http/, "ws");
function judgeClose(code) {
  return code >= 4e3 && code <= 4099 && code !== 4008 ? "refused" : "failed";
}
function judgeStatus(status2, ours) {
  if (status2 === 401 || status2 === 413) return "refused";
  if (!ours || status2 >= 500 || status2 === 408 || status2 === 429) return "failed";
  return status2 === 410 ? "reset" : "refused";
}
function judgeError(code) {
  if (/^(cursor_expired|bad_cursor)$/.test(code)) return "reset";
  if (/^(unauthorized|forbidden|unknown_entity|refused)$/.test(code)) return "refused";
  return code === "busy" ? "failed" : null;
}

// src/load.ts
async function ask(url2, init) {
  const response = await fetch(url2, { cache: "no-store", ...init });
  if (response.ok) return response;
  const { error, message } = await response.json().catch(() => ({}));
  const { status: status2 } = response;
  throw Object.assign(new Error(`${url2} answered ${status2}: ${message ?? response.statusText}`), { verdict: judgeStatus(status2, /^[a-z_]+$/.test(error || "")), status: status2 });
}
async function load(at, entities, signal, onProgress) {
  const now = await ask(pullURL(at, entities, "now"), { signal });
  const { cursor } = await now.json();
  const one = async (entity) => {
    const response = await ask(snapshotURL(at, entity), { signal });
    const watch = new TransformStream({
      transform(chunk, out) {
        onProgress();
        out.enqueue(chunk);
      }
    });
    return new Response(response.body?.pipeThrough(watch)).json();
  };
  return { cursor, snapshots: await Promise.all(entities.map(one)) };
}

// src/link.ts
function openSocket(at, on) {
  const ws = new WebSocket(socketURL(at));
  ws.onopen = on.opened;
  ws.onmessage = (e) => on.received(e.data);
  ws.onclose = (e) => on.failed(judgeClose(e.code), e.reason || `closed with ${e.code}`);
  return {
    send: (frame) => ws.readyState === 1 && ws.send(JSON.stringify(frame)),
    close() {
      ws.onopen = ws.onmessage = ws.onclose = null;
      ws.close();
    }
  };
}
function places(cursors) {
  const found = /* @__PURE__ */ new Map();
  for (const [entity, cursor] of Object.entries(cursors)) found.set(cursor, [...found.get(cursor) ?? [], entity]);
  return [...found];
}
function openEvents(at, cursors, on) {
  const streams = places(cursors).map(([cursor, entities]) => {
    const stream = new EventSource(eventsURL(at, entities, cursor));
    const frame = (type, rest) => stream.addEventListener(type, (e) => on.received(`{"type":${rest(e)},"cursor":${JSON.stringify(e.lastEventId)}}`));
    frame("sync", (e) => `"change","change":${e.data}`);
    frame("heartbeat", () => `"heartbeat","entities":${JSON.stringify(entities)}`);
    frame("reset", () => `"reset","entities":${JSON.stringify(entities)}`);
    stream.onopen = on.opened;
    stream.onerror = () => void why(at, entities, cursor).then(({ verdict = "failed", message = "the stream was cut" }) => stream.onerror && on.failed(verdict, message));
    return stream;
  });
  return {
    send: ({ type }) => type === "subscribe" && queueMicrotask(() => on.received('{"type":"subscribed"}')),
    // the address said it all
    close() {
      for (const stream of streams) {
        stream.onopen = stream.onerror = null;
        stream.close();
      }
    }
  };
}
function why(at, entities, cursor) {
  return ask(`${pullURL(at, entities, cursor)}&limit=1`, {}).then(() => ({}), (error) => error);
}

// src/state.ts
var load2 = { to: "loading", run: "load" };
var again = { to: "waiting", run: "drop", failures: "add" };
var refuse = { to: "stopped", run: "drop" };
var halt = { to: "idle", run: "drop" };
var alive = { to: "live", failures: "clear" };
var probe = { to: "probing", run: "ping" };
var started = { stop: halt, failed: again, refused: refuse, reset: again, timer: again, added: load2 };
var table = {
  idle: { start: load2 },
  waiting: { stop: halt, wake: { ...load2, failures: "clear" }, timer: load2 },
  loading: { ...started, loaded: { to: "connecting", run: "connect" }, progress: { to: "loading" } },
  connecting: { ...started, opened: { to: "subscribing", run: "subscribe" } },
  subscribing: { ...started, subscribed: { to: "live" }, heard: { to: "subscribing" } },
  live: { ...started, subscribed: alive, heard: alive, wake: probe, timer: probe },
  probing: { ...started, subscribed: alive, heard: alive },
  stopped: { start: load2, stop: halt }
};
var initial = { state: "idle", failures: 0, wasLive: false };
function next(machine, event) {
  const step = table[machine.state][event];
  if (!step) return null;
  const failures = step.failures === "add" ? machine.failures + 1 : step.failures === "clear" ? 0 : machine.failures;
  return { machine: { state: step.to, failures, wasLive: machine.wasLive || step.to === "live" }, run: step.run };
}
function status({ state, wasLive }) {
  if (state === "idle" || state === "stopped") return "stopped";
  if (state === "live" || state === "probing") return "live";
  return wasLive ? "reconnecting" : "connecting";
}
var viaEvents = (failures) => failures % 3 === 2;

// src/timing.ts
var second = 1e3;
var firstCeiling = second;
var lastCeiling = 30 * second;
function backoff(failures, random) {
  return failures && random * Math.min(lastCeiling, firstCeiling * 2 ** (failures - 1));
}
function timeout({ state, failures }, random) {
  const times = {
    waiting: backoff(failures, random),
    loading: 30 * second,
    // without a byte arriving
    connecting: 10 * second,
    subscribing: 10 * second,
    live: 30 * second,
    // the server's heartbeat comes every 25 s; then we ask
    probing: 5 * second
  };
  return times[state];
}

// src/follower.ts
function newFollower(at, receiver) {
  const wanted = /* @__PURE__ */ new Set();
  let machine = initial;
  let timer;
  let link;
  let loading;
  let cursors = {};
  let begun = [];
  function on(event) {
    const before = status(machine);
    const step = next(machine, event);
    if (!step) return;
    machine = step.machine;
    clearTimeout(timer);
    const ms = timeout(machine, Math.random());
    if (ms !== void 0) timer = setTimeout(() => on("timer"), ms);
    if (step.run) effects[step.run]();
    const now = status(machine);
    if (now !== before) receiver.status(now);
  }
  const effects = {
    drop() {
      loading?.abort();
      link?.close();
      begun = [];
    },
    load() {
      effects.drop();
      void fetchMissing();
    },
    connect() {
      const events = { opened: () => on("opened"), failed, received };
      link = viaEvents(machine.failures) ? openEvents(at, cursors, events) : openSocket(at, events);
    },
    subscribe: () => link?.send(subscribe(cursors)),
    ping: () => link?.send(ping)
  };
  async function fetchMissing() {
    const { signal } = loading = new AbortController();
    const missing = [...wanted].filter((entity) => !cursors[entity]);
    try {
      if (missing.length) {
        receiver.loading();
        const { cursor, snapshots } = await load(at, missing, signal, () => signal.aborted || on("progress"));
        signal.throwIfAborted();
        for (const entity of missing) cursors[entity] = cursor;
        await receiver.snapshots(snapshots, { ...cursors });
      } else await null;
      if (!signal.aborted) on("loaded");
    } catch (error) {
      if (!signal.aborted) failed(error.verdict ?? "failed", String(error));
    }
  }
  function failed(verdict, reason) {
    console.warn(`gormsync: ${verdict}: ${reason}`);
    if (verdict === "reset") cursors = {};
    on(verdict);
  }
  function received(data) {
    try {
      const frame = JSON.parse(data);
      take(frame);
      mean(frame);
    } catch (error) {
      failed("failed", `unreadable frame: ${error}`);
    }
  }
  function mean(frame) {
    if (frame.type === "reset") {
      for (const entity of frame.entities ?? wanted) delete cursors[entity];
      return on("reset");
    }
    const verdict = frame.type === "error" && judgeError(frame.code);
    if (verdict) failed(verdict, `${frame.code}: ${frame.message}`);
    else on(frame.type === "subscribed" ? "subscribed" : "heard");
  }
  function take(frame) {
    const changes = changesOf(frame);
    begun.push(...changes);
    const { more, cursor, entities } = frame;
    if (more || begun.length && !changes.length) return;
    const whole = begun.splice(0);
    if (!whole.length && frame.type !== "heartbeat") return;
    if (cursor) moveTo(cursor, whole.length ? whole.map((change) => change.entity) : entities ?? wanted);
    receiver.changes(whole, { ...cursors });
  }
  function moveTo(cursor, entities) {
    const together = new Set(Object.values(cursors)).size === 1;
    for (const entity of together ? Object.keys(cursors) : entities) cursors[entity] = cursor;
  }
  return {
    follow(entities, from) {
      const before = wanted.size;
      for (const entity of entities) wanted.add(entity);
      if (status(machine) !== "stopped") return wanted.size > before ? on("added") : void 0;
      cursors = { ...from };
      on("start");
    },
    wake: () => on("wake"),
    refuse: (reason) => failed("refused", reason),
    stop: () => on("stop")
  };
}

// src/pusher.ts
var most = 100;
var patience = 3e4;
function newPusher(at, replica, refused) {
  let on = false;
  let busy = false;
  let failures = 0;
  let limit = most;
  let timer;
  let request;
  const kick = () => {
    clearTimeout(timer);
    timer = void 0;
    if (on && !busy) void drain();
  };
  async function drain() {
    busy = true;
    try {
      while (await round()) failures = 0;
    } catch (error) {
      busy = false;
      const { status: status2, message } = error;
      if (status2 === 401) refused(message);
      else if (on) timer = setTimeout(kick, backoff(++failures, Math.random()));
    }
  }
  async function round() {
    await replica.refresh();
    const batch = nextBatch(replica.outbox.filter((e) => e.seq !== void 0), limit);
    if (!batch.length || !on) return busy = false;
    const results = await send(batch);
    await replica.settle(batch, results);
    if (batch.some((e) => replica.outbox.some(({ mutation_id }) => mutation_id === e.mutation_id))) throw new Error("retry");
    return true;
  }
  async function send(batch) {
    const current = request = new AbortController();
    const late2 = setTimeout(() => current.abort(), patience);
    try {
      const response = await ask(pushURL(at), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ client_id: replica.clientID, changes: batch.map(({ seq: _, ...change }) => change) }),
        signal: current.signal
      });
      const { results } = await response.json();
      limit = Math.min(most, limit * 2);
      return results;
    } catch (error) {
      const { verdict, status: status2, message } = error;
      if (verdict !== "refused" || status2 === 401) throw error;
      return alone(batch, message);
    } finally {
      clearTimeout(late2);
    }
  }
  function alone(batch, message) {
    if (batch.length === 1) return batch.map(({ id, mutation_id }) => ({ id, mutation_id, status: "rejected", error: { code: "refused", message } }));
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
    }
  };
}

// src/tabs.ts
function newTabs(name, on) {
  const { locks } = navigator;
  let leader = false;
  let channel;
  let wanted;
  let release;
  function lead(alone) {
    leader = true;
    on.lead(alone);
  }
  async function reign({ aborted }) {
    if (aborted) return;
    const ended = new Promise((done) => release = done);
    lead(true);
    await ended;
  }
  return {
    get leader() {
      return leader;
    },
    join(common) {
      if (common) {
        channel = new BroadcastChannel(name);
        channel.onmessage = ({ data }) => on.heard(data);
      }
      if (!common || !locks) return lead(!common);
      const { signal } = wanted = new AbortController();
      locks.request(name, { signal }, () => reign(signal)).catch(() => {
      });
    },
    async leave() {
      wanted?.abort();
      channel?.close();
      channel = void 0;
      if (!leader) return;
      leader = false;
      await on.resign();
      release?.();
    },
    async alone(job) {
      await (locks ? locks.request(name, job) : job());
    },
    post: (message) => channel?.postMessage(message)
  };
}

// src/wake.ts
function onWake(call, signal) {
  addEventListener("online", call, { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && call(), { signal });
}

// src/client.ts
var Client = class {
  #emitter = new Emitter();
  #collections;
  #replica;
  #follower;
  #pusher;
  #tabs;
  #waiting = /* @__PURE__ */ new Map();
  #status = "stopped";
  #asked = false;
  #pending;
  #started;
  #ready;
  /** Fulfilled when the rows that the browser had stored are there. */
  ready = new Promise((done) => this.#ready = done);
  /** @internal createClient checks the options. */
  constructor({ base, entities, user = "" }) {
    const at = { base, user };
    const name = `gormsync ${base} ${user}`;
    this.#replica = new Replica(name, {
      changed: (entity, ids, source) => {
        this.#collections.get(entity)?.tell();
        this.#emitter.emit("change", { entity, ids, source });
      },
      pending: (pending) => {
        if (pending !== this.#pending) this.#emitter.emit("pending", { pending });
        this.#pending = pending;
      },
      outcome: (outcome) => this.#outcome(outcome),
      written: (written) => {
        this.#tabs.post(written);
        if (written.outbox) this.#pusher.nudge();
      }
    });
    this.#collections = new Map(entities.map((entity) => [entity, new Collection(this.#replica.table(entity), (action, id, data) => this.#edit(entity, action, id, data))]));
    this.#follower = newFollower(at, {
      loading: () => this.#replica.loading(),
      snapshots: (snapshots, cursors) => this.#replica.replace(snapshots, cursors),
      changes: (changes, cursors) => void this.#replica.apply(changes, cursors),
      status: (status2) => {
        this.#tell(status2);
        this.#tabs.post({ status: status2 });
        if (status2 === "live") this.#pusher.kick();
      }
    });
    this.#pusher = newPusher(at, this.#replica, (reason) => this.#follower.refuse(reason));
    this.#tabs = newTabs(name, {
      lead: (alone) => void this.#lead(alone),
      resign: () => this.#resign(),
      heard: (message) => this.#heard(message)
    });
  }
  /** `live` while the server is followed; see Status. */
  get status() {
    return this.#status;
  }
  /** Whether edits survive a reload of the page. */
  get persistent() {
    return this.#replica.persistent;
  }
  /** The number of edits that the server has not answered. */
  get pending() {
    return this.#replica.outbox.length;
  }
  /** Whether this tab is the one that is connected, for all tabs of this browser. */
  get leader() {
    return this.#tabs.leader;
  }
  /** collection gives the rows of a followed table. */
  collection(entity) {
    const found = this.#collections.get(entity);
    if (!found) throw new Error(`gormsync: "${entity}" is not followed: add it to data-entities or options`);
    return found;
  }
  /** on adds a listener and returns the function that removes it. */
  on(name, listener) {
    return this.#emitter.on(name, listener);
  }
  /** start follows the server, until stop; also again after it refused. */
  start() {
    if (this.#started) return this.#greet();
    const { signal } = this.#started = new AbortController();
    onWake(() => (this.#follower.wake(), this.#pusher.kick()), signal);
    addEventListener("pagehide", () => void this.#tabs.leave(), { signal });
    addEventListener("pageshow", (e) => e.persisted && void this.#join(), { signal });
    void this.#replica.open().then(() => this.#join());
  }
  /** stop ends the connection, or leaves it to another tab; the rows stay as they are. */
  async stop() {
    this.#started?.abort();
    this.#started = void 0;
    await this.#tabs.leave();
    this.#tell("stopped");
  }
  /** clear stops, and forgets all rows and all edits, sent or not, in every tab: for signing out. */
  async clear() {
    this.#tabs.post({ cleared: true });
    await this.stop();
    await this.#tabs.alone(() => this.#replica.clear());
  }
  async #join() {
    if (!this.#started) return;
    if (this.#status === "stopped") this.#tell("connecting");
    this.#tabs.join(this.#replica.persistent);
    await this.#replica.load();
    this.#ready();
    this.#greet();
  }
  #greet() {
    const hello = [...this.#collections.keys()];
    if (this.leader) this.#follow(hello);
    else this.#tabs.post({ hello });
  }
  async #lead(alone) {
    this.#replica.alone = alone;
    await this.#replica.load();
    if (!this.leader) return;
    this.#follow([]);
    this.#pusher.start();
  }
  #follow(entities) {
    this.#follower.follow([...this.#collections.keys(), ...entities], this.#replica.cursors);
  }
  async #resign() {
    this.#follower.stop();
    this.#pusher.stop();
    await this.#replica.idle();
  }
  #heard({ hello, status: status2, cleared, ...written }) {
    if (cleared) void this.stop().then(() => this.#replica.forget());
    if (status2 && !this.leader) this.#tell(status2);
    if (hello && this.leader) {
      this.#follow(hello);
      this.#tabs.post({ status: this.#status, ...this.#replica.shared ? {} : this.#replica.everything() });
    }
    void this.#replica.written(written).finally(() => this.leader && written.outbox && this.#pusher.nudge()).catch(() => {
    });
  }
  #tell(status2) {
    if (status2 === this.#status) return;
    this.#status = status2;
    this.#emitter.emit("status", { status: status2, persistent: this.persistent });
  }
  #edit(entity, action, id, data) {
    if (!this.#asked) void navigator.storage?.persist?.().catch(() => {
    });
    this.#asked = true;
    const { entry, stored } = this.#replica.edit(entity, action, id, data);
    const { mutation_id } = entry;
    const settled = new Promise((done) => this.#waiting.set(mutation_id, done));
    stored.catch(() => {
    });
    return { id, mutation_id, persisted: stored, settled };
  }
  #outcome(outcome) {
    const { status: status2, mutation_id } = outcome;
    this.#waiting.get(mutation_id)?.(outcome);
    this.#waiting.delete(mutation_id);
    if (status2 === "rejected") this.#emitter.emit("rejected", outcome);
    else if (status2 !== "applied") this.#emitter.emit("conflict", outcome);
  }
};
function createClient(options) {
  if (!options.entities.length) throw new Error("gormsync: no entities: name the tables to follow");
  return new Client({ ...options, base: options.base.replace(/\/+$/, ""), entities: [...new Set(options.entities)] });
}

// src/dom.ts
function domEvents(client, prefix = "sync") {
  const dispatch = (name, detail) => document.body.dispatchEvent(new CustomEvent(`${prefix}:${name}`, { bubbles: true, detail }));
  client.on("change", (event) => dispatch(`${event.entity}:changed`, event));
  for (const name of ["status", "pending", "conflict", "rejected"]) client.on(name, (event) => dispatch(name, event));
}

// src/form.ts
function fieldsOf(form) {
  const row = {};
  for (const field of form.elements) {
    const { name, type, value } = field;
    const { checked, valueAsNumber } = field;
    if (!name || field.matches(":disabled") || /^(submit|button|reset|image|file)$/.test(type)) continue;
    if (type === "checkbox") row[name] = checked;
    else if (/^(number|range)$/.test(type)) row[name] = value === "" ? null : valueAsNumber;
    else if (type !== "radio" || checked) row[name] = value;
  }
  return row;
}
function forms(client) {
  document.addEventListener("submit", (e) => {
    const form = e.target;
    const { syncForm, syncId, syncAction } = form.dataset;
    if (!syncForm || e.defaultPrevented) return;
    e.preventDefault();
    const { id = syncId, ...fields } = fieldsOf(form);
    const rows = client.collection(syncForm);
    if (syncAction === "delete") rows.delete(String(id));
    else if (id) rows.update(String(id), fields);
    else {
      rows.insert(fields);
      form.reset();
    }
  });
}
export {
  createClient,
  domEvents,
  forms
};
