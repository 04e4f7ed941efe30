// src/emitter.ts
var Emitter = class {
  #listeners = /* @__PURE__ */ new Map();
  /** on adds a listener and returns the function that removes it. */
  on(name, listener) {
    const own = (event) => listener(event);
    const all = this.#listeners.get(name) ?? /* @__PURE__ */ new Set();
    this.#listeners.set(name, all.add(own));
    return () => all.delete(own);
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

// src/rows.ts
var Rows = class {
  #held = /* @__PURE__ */ new Map();
  #list = null;
  /**
   * apply takes one change and reports whether the row is another one now. A
   * change older than what is held is ignored: versions of a row only grow, so
   * it was delivered a second time.
   */
  apply(change) {
    const data = change.action === "delete" ? null : change.data;
    const held = this.#held.get(change.entity_id);
    if (held && change.version < held.version) return false;
    this.#held.set(change.entity_id, { version: change.version, data });
    return this.#differs(held?.data ?? null, data);
  }
  /**
   * replace puts a snapshot in the place of everything held and returns the ids
   * of the rows that differ. What was held before has no say: after a restored
   * backup the versions may be smaller than they were.
   */
  replace(snapshot) {
    const before = this.#held;
    this.#held = /* @__PURE__ */ new Map();
    this.#list = null;
    for (const change of snapshot) this.apply(change);
    const ids = /* @__PURE__ */ new Set([...before.keys(), ...this.#held.keys()]);
    return [...ids].filter((id) => this.#differs(before.get(id)?.data ?? null, this.#held.get(id)?.data ?? null));
  }
  /** get is the row with that id. */
  get(id) {
    return this.#held.get(id)?.data ?? void 0;
  }
  /** all lists the rows. It is the same array until a row changes. */
  all() {
    this.#list ??= [...this.#held.values()].flatMap((held) => held.data ?? []);
    return this.#list;
  }
  #differs(before, after) {
    if (JSON.stringify(before) === JSON.stringify(after)) return false;
    this.#list = null;
    return true;
  }
};

// src/collection.ts
var Collection = class {
  /** @internal */
  rows = new Rows();
  #emitter = new Emitter();
  /** get is the row with that primary key, written as text. */
  get(id) {
    return this.rows.get(id);
  }
  /** all lists the rows in no particular order. It is the same array as long as no row changed. */
  all() {
    return this.rows.all();
  }
  /** subscribe calls back with all rows, now and after every change, and returns the function that ends it. */
  subscribe(listener) {
    const end = this.#emitter.on("rows", listener);
    listener(this.all());
    return end;
  }
  /** @internal */
  tell() {
    this.#emitter.emit("rows", this.all());
  }
};

// src/wire.ts
function subscribe(since) {
  return { type: "subscribe", entities: Object.keys(since), since, batch: true };
}
var ping = { type: "ping" };
function changesOf(frame) {
  switch (frame.type) {
    case "change":
      return [frame.change];
    case "changes":
      return frame.changes;
    case "leave":
      return [{ ...frame, id: frame.version, action: "delete", data: null }];
    default:
      return [];
  }
}
var snapshotURL = (base, entity) => `${base}/sync/${encodeURIComponent(entity)}`;
var socketURL = (base) => `${base.replace(/^http/, "ws")}/sync/ws`;
function judgeClose(code) {
  return code >= 4e3 && code <= 4099 && code !== 4008 ? "refused" : "closed";
}
function judgeStatus(status2) {
  return status2 >= 400 && status2 < 500 && status2 !== 408 && status2 !== 429 ? "refused" : "failed";
}
function judgeError(code) {
  switch (code) {
    case "cursor_expired":
    case "bad_cursor":
      return "reset";
    case "unauthorized":
    case "forbidden":
    case "unknown_entity":
    case "refused":
      return "refused";
    case "busy":
      return "failed";
    default:
      return null;
  }
}

// src/load.ts
var LoadError = class extends Error {
  constructor(verdict, message) {
    super(message);
    this.verdict = verdict;
  }
  verdict;
  name = "LoadError";
};
function load(base, entities, signal, onProgress) {
  return Promise.all(entities.map((entity) => loadOne(snapshotURL(base, entity), signal, onProgress)));
}
async function loadOne(url, signal, onProgress) {
  const response = await fetch(url, { signal, cache: "no-store", headers: { accept: "application/json" } });
  if (!response.ok || !response.body) throw new LoadError(judgeStatus(response.status), await describe(response));
  const watch = new TransformStream({
    transform(chunk, out) {
      onProgress();
      out.enqueue(chunk);
    }
  });
  return new Response(response.body.pipeThrough(watch)).json();
}
async function describe(response) {
  const answer = await response.json().catch(() => ({}));
  const hint = response.status === 404 ? " Is the entity tracked, and may this user read it?" : "";
  return `gormsync: GET ${response.url} answered ${response.status}: ${answer.message ?? response.statusText}${hint}`;
}

// src/socket.ts
import ReconnectingWebSocket from "partysocket/ws";
var Socket = class {
  #ws;
  #muted = false;
  #pause = 0;
  #hurry = () => {
  };
  constructor(url, events) {
    this.#ws = new ReconnectingWebSocket(() => this.#paused().then(() => url), [], {
      startClosed: true,
      maxEnqueuedMessages: 0,
      minReconnectionDelay: 0,
      maxReconnectionDelay: 0,
      connectionTimeout: 1e4
    });
    this.#ws.onopen = () => events.opened();
    this.#ws.onmessage = (e) => events.received(String(e.data));
    this.#ws.onclose = (e) => {
      if (!this.#muted) events.closed(judgeClose(e.code), e.reason);
    };
  }
  /** open opens the socket after a pause; what was open before is dropped. */
  open(pause) {
    this.#pause = pause;
    this.#quietly(() => this.#ws.reconnect());
  }
  /** hurry ends the pause. */
  hurry() {
    this.#pause = 0;
    this.#hurry();
  }
  /** close closes the socket and leaves it closed. */
  close() {
    this.#quietly(() => this.#ws.close());
    this.hurry();
  }
  /** send sends a frame; on a socket that is not open it is dropped. */
  send(frame) {
    this.#ws.send(JSON.stringify(frame));
  }
  #quietly(act) {
    this.#muted = true;
    act();
    this.#muted = false;
  }
  #paused() {
    return new Promise((done) => {
      const timer = setTimeout(done, this.#pause);
      this.#hurry = () => (clearTimeout(timer), done());
    });
  }
};

// src/state.ts
var ignore = null;
var load2 = { to: "loading", run: "load" };
var again = { to: "connecting", run: "reconnect", failures: "add" };
var startOver = { to: "waiting", run: "disconnect", failures: "add" };
var refuse = { to: "stopped", run: "disconnect" };
var halt = { to: "idle", run: "disconnect" };
var alive = { to: "live", failures: "clear" };
var probe = { to: "probing", run: "ping" };
var ignoreAll = {
  start: ignore,
  stop: ignore,
  loaded: ignore,
  progress: ignore,
  failed: ignore,
  refused: ignore,
  opened: ignore,
  closed: ignore,
  subscribed: ignore,
  heard: ignore,
  reset: ignore,
  wake: ignore,
  timer: ignore
};
var connected = { ...ignoreAll, stop: halt, closed: again, failed: again, refused: refuse, reset: startOver };
var table = {
  idle: { ...ignoreAll, start: load2 },
  waiting: { ...ignoreAll, stop: { to: "idle" }, wake: load2, timer: load2 },
  loading: {
    ...ignoreAll,
    stop: { to: "idle", run: "abort" },
    loaded: { to: "connecting", run: "connect" },
    progress: { to: "loading" },
    failed: { to: "waiting", failures: "add" },
    refused: { to: "stopped", run: "abort" },
    timer: { to: "waiting", run: "abort", failures: "add" }
  },
  connecting: { ...connected, opened: { to: "subscribing", run: "subscribe" }, wake: { to: "connecting", run: "hurry", failures: "clear" } },
  subscribing: { ...connected, subscribed: { to: "live" }, heard: { to: "subscribing" }, timer: again },
  live: { ...connected, subscribed: alive, heard: alive, wake: probe, timer: probe },
  probing: { ...connected, subscribed: alive, heard: alive, timer: again },
  stopped: { ...ignoreAll, start: load2, stop: { to: "idle" } }
};
var initial = { state: "idle", failures: 0, wasLive: false };
function next(machine, event) {
  const step = table[machine.state][event];
  if (step === ignore) return null;
  const failures = step.failures === "add" ? machine.failures + 1 : step.failures === "clear" ? 0 : machine.failures;
  const moved = { state: step.to, failures, wasLive: machine.wasLive || step.to === "live" };
  return step.run ? { machine: moved, run: step.run } : { machine: moved };
}
function status({ state, wasLive }) {
  if (state === "idle" || state === "stopped") return "stopped";
  if (state === "live" || state === "probing") return "live";
  return wasLive ? "reconnecting" : "connecting";
}

// src/timing.ts
var second = 1e3;
var firstCeiling = second;
var lastCeiling = 30 * second;
function backoff(failures, random) {
  if (failures === 0) return 0;
  return random * Math.min(lastCeiling, firstCeiling * 2 ** (failures - 1));
}
function timeout({ state, failures }, random) {
  switch (state) {
    case "waiting":
      return backoff(failures, random);
    case "loading":
      return 30 * second;
    case "subscribing":
      return 10 * second;
    case "live":
      return 25 * second;
    case "probing":
      return 5 * second;
    default:
      return null;
  }
}

// src/wake.ts
function onWake(call) {
  const end = new AbortController();
  const { signal } = end;
  addEventListener("online", call, { signal });
  addEventListener("pageshow", (e) => e.persisted && call(), { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && call(), { signal });
  return () => end.abort();
}

// src/follower.ts
var Follower = class {
  #base;
  #entities;
  #receiver;
  #socket;
  #machine = initial;
  #timer;
  #loading = new AbortController();
  #asleep = () => {
  };
  /** The place in the feed from which each entity follows. */
  #cursors = {};
  /** The beginning of a transaction that spans frames. */
  #begun = [];
  constructor(base, entities, receiver) {
    this.#base = base;
    this.#entities = entities;
    this.#receiver = receiver;
    this.#socket = new Socket(socketURL(base), {
      opened: () => this.#on("opened"),
      closed: (verdict, reason) => {
        if (verdict === "refused") console.error(`gormsync: the server closed the connection for good: ${reason}`);
        this.#on(verdict);
      },
      received: (data) => this.#received(data)
    });
  }
  /** What to tell people. */
  get status() {
    return status(this.#machine);
  }
  /** start begins to follow. */
  start() {
    this.#asleep();
    this.#asleep = onWake(() => this.#on("wake"));
    this.#on("start");
  }
  /** stop ends it; rows already handed on stay. */
  stop() {
    this.#asleep();
    this.#on("stop");
  }
  #on(event) {
    const before = this.status;
    const step = next(this.#machine, event);
    if (!step) return;
    this.#machine = step.machine;
    this.#arm();
    if (step.run) this.#effects[step.run]();
    if (this.status !== before) this.#receiver.status(this.status);
  }
  #arm() {
    clearTimeout(this.#timer);
    const ms = timeout(this.#machine, Math.random());
    if (ms !== null) this.#timer = setTimeout(() => this.#on("timer"), ms);
  }
  #effects = {
    load: () => void this.#load(),
    abort: () => this.#loading.abort(),
    connect: () => this.#socket.open(0),
    reconnect: () => this.#socket.open(backoff(this.#machine.failures, Math.random())),
    hurry: () => this.#socket.hurry(),
    disconnect: () => this.#socket.close(),
    subscribe: () => {
      this.#begun = [];
      this.#socket.send(subscribe(this.#cursors));
    },
    ping: () => this.#socket.send(ping)
  };
  async #load() {
    const { signal } = this.#loading = new AbortController();
    try {
      const snapshots = await load(this.#base, this.#entities, signal, () => signal.aborted || this.#on("progress"));
      signal.throwIfAborted();
      this.#cursors = Object.fromEntries(snapshots.map((s) => [s.entity, s.cursor]));
      this.#receiver.snapshots(snapshots);
      this.#on("loaded");
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }
  #failed(error) {
    const verdict = error instanceof LoadError ? error.verdict : "failed";
    if (verdict === "refused") console.error(String(error));
    else console.warn(`gormsync: no snapshot, trying again: ${String(error)}`);
    this.#on(verdict);
  }
  #received(data) {
    let event = "failed";
    try {
      const frame = JSON.parse(data);
      this.#take(frame);
      event = this.#meaning(frame);
    } catch (error) {
      console.error(`gormsync: unreadable frame: ${String(error)}`);
    }
    this.#on(event);
  }
  #meaning(frame) {
    if (frame.type === "subscribed" || frame.type === "reset") return frame.type;
    if (frame.type !== "error") return "heard";
    console.warn(`gormsync: the server reports ${frame.code}: ${frame.message}`);
    return judgeError(frame.code) ?? "heard";
  }
  /** The cursor moves only after the changes before it are handed on, and never in the middle of a transaction. */
  #take(frame) {
    if (frame.type === "heartbeat" && !this.#begun.length) this.#moveTo(frame.cursor, this.#entities);
    const changes = changesOf(frame);
    this.#begun.push(...changes);
    if (!changes.length || "more" in frame && frame.more) return;
    const whole = this.#begun.splice(0);
    this.#receiver.changes(whole);
    if ("cursor" in frame && frame.cursor) this.#moveTo(frame.cursor, whole.map((change) => change.entity));
  }
  /** While entities stand at different places, a cursor speaks only for those that it came with. */
  #moveTo(cursor, entities) {
    const together = new Set(Object.values(this.#cursors)).size === 1;
    for (const entity of together ? this.#entities : entities) this.#cursors[entity] = cursor;
  }
};

// src/client.ts
var Client = class {
  #emitter = new Emitter();
  #collections;
  #follower;
  /** @internal createClient checks the options. */
  constructor(options) {
    this.#collections = new Map(options.entities.map((entity) => [entity, new Collection()]));
    this.#follower = new Follower(options.base, options.entities, {
      snapshots: (snapshots) => this.#replace(snapshots),
      changes: (changes) => this.#apply(changes),
      status: (status2) => this.#emitter.emit("status", { status: status2 })
    });
  }
  /** `live` while the server is followed; see Status. */
  get status() {
    return this.#follower.status;
  }
  /** collection gives the rows of a followed table. */
  collection(entity) {
    const found = this.#collections.get(entity);
    if (!found) throw new Error(`gormsync: "${entity}" is not followed: add it to data-entities or to options.entities`);
    return found;
  }
  /** on adds a listener and returns the function that removes it. */
  on(name, listener) {
    return this.#emitter.on(name, listener);
  }
  /** start follows the server, until stop. */
  start() {
    this.#follower.start();
  }
  /** stop ends the connection; the rows stay as they are. */
  stop() {
    this.#follower.stop();
  }
  #replace(snapshots) {
    const ids = /* @__PURE__ */ new Map();
    for (const { entity, changes } of snapshots) ids.set(entity, this.#collections.get(entity)?.rows.replace(changes) ?? []);
    this.#tell(ids);
  }
  #apply(changes) {
    const ids = /* @__PURE__ */ new Map();
    for (const change of changes) {
      if (!this.#collections.get(change.entity)?.rows.apply(change)) continue;
      ids.set(change.entity, (ids.get(change.entity) ?? /* @__PURE__ */ new Set()).add(change.entity_id));
    }
    this.#tell(ids);
  }
  /** Listeners are told when all is in place, so that they never see half of a transaction. */
  #tell(changed) {
    for (const [entity, ids] of changed) {
      const event = { entity, ids: [...ids], source: "remote" };
      if (!event.ids.length) continue;
      this.#collections.get(entity)?.tell();
      this.#emitter.emit("change", event);
    }
  }
};
function createClient(options) {
  if (!options.entities.length) throw new Error('gormsync: no entities: name the tables to follow, for example entities: ["todos"]');
  return new Client({ base: options.base.replace(/\/+$/, ""), entities: [...new Set(options.entities)] });
}

// src/dom.ts
function domEvents(client, prefix = "sync") {
  const dispatch = (name, detail) => document.body.dispatchEvent(new CustomEvent(`${prefix}:${name}`, { bubbles: true, detail }));
  client.on("change", (event) => dispatch(`${event.entity}:changed`, event));
  client.on("status", (event) => dispatch("status", event));
}
export {
  createClient,
  domEvents
};
