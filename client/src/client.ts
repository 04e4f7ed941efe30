import { Collection, type Mutation } from './collection.js';
import { Emitter } from './emitter.js';
import { newFollower, type Follower } from './follower.js';
import type { Outcome } from './outbox.js';
import { newPusher, type Pusher } from './pusher.js';
import { Replica, type Source, type Written } from './replica.js';
import type { Status } from './state.js';
import { newTabs, type Tabs } from './tabs.js';
import { onWake } from './wake.js';
import type { Action, Row } from './wire.js';

/** Rows of one entity became others: created, changed or deleted. */
export interface ChangeEvent {
  entity: string;
  ids: string[];
  /** Who changed them: somebody else (`remote`), this tab (`local`) or another tab of this browser (`tab`). */
  source: Source;
}

/** Where the client stands. */
export interface StatusEvent {
  status: Status;
  /** Whether edits survive a reload; false in browsers that do not let the page store anything. */
  persistent: boolean;
}

/** The events of a client by name. */
export interface ClientEvents {
  change: ChangeEvent;
  /** An edit met another one: `status` is `conflict` when it was dropped, `merged` when some of its fields stand. */
  conflict: Outcome;
  /** An edit was refused, or could not be stored, and is taken back. */
  rejected: Outcome;
  status: StatusEvent;
  /** The number of edits that the server has not answered. */
  pending: { pending: number };
}

/** What a client needs to know. */
export interface ClientOptions {
  /** Where the server's routes are mounted: the URL before `/sync/…`, such as `https://example.org/api`. */
  base: string;
  /** The tables to follow. */
  entities: string[];
  /**
   * Who is signed in, by the name that the server's Authorize gives as Actor: each
   * user has a database of its own in the browser, and the server refuses this
   * page when somebody else signs in. Defaults to nobody.
   */
  user?: string;
}

interface Message extends Written {
  /** A tab came, and follows these entities. */
  hello?: string[];
  status?: Status;
  cleared?: true;
}

/** Client holds the rows of some tables, keeps them as the server has them, and brings this device's edits there. */
export class Client {
  readonly #emitter = new Emitter<ClientEvents>();
  readonly #collections: Map<string, Collection>;
  readonly #replica: Replica;
  readonly #follower: Follower;
  readonly #pusher: Pusher;
  readonly #tabs: Tabs<Message>;
  readonly #waiting = new Map<string, (outcome: Outcome) => void>();
  #status: Status = 'stopped';
  #asked = false;
  #pending: number | undefined;
  #started: AbortController | undefined;
  #ready!: () => void;
  /** Fulfilled when the rows that the browser had stored are there. */
  readonly ready = new Promise<void>((done) => (this.#ready = done));

  /** @internal createClient checks the options. */
  constructor({ base, entities, user = '' }: ClientOptions) {
    const at = { base, user };
    const name = `gormsync ${base} ${user}`;
    this.#replica = new Replica(name, {
      changed: (entity, ids, source) => {
        this.#collections.get(entity)?.tell();
        this.#emitter.emit('change', { entity, ids, source });
      },
      pending: (pending) => {
        if (pending !== this.#pending) this.#emitter.emit('pending', { pending });
        this.#pending = pending;
      },
      outcome: (outcome) => this.#outcome(outcome),
      written: (written) => {
        this.#tabs.post(written);
        if (written.outbox) this.#pusher.nudge();
      },
    });
    this.#collections = new Map(entities.map((entity) => [entity, new Collection(this.#replica.table(entity), (action, id, data) => this.#edit(entity, action, id, data))]));
    this.#follower = newFollower(at, {
      loading: () => this.#replica.loading(),
      snapshots: (snapshots, cursors) => this.#replica.replace(snapshots, cursors),
      changes: (changes, cursors) => void this.#replica.apply(changes, cursors),
      status: (status) => {
        this.#tell(status);
        this.#tabs.post({ status });
        if (status === 'live') this.#pusher.kick();
      },
    });
    this.#pusher = newPusher(at, this.#replica, (reason) => this.#follower.refuse(reason));
    this.#tabs = newTabs(name, {
      lead: (alone) => void this.#lead(alone),
      resign: () => this.#resign(),
      heard: (message) => this.#heard(message),
    });
  }

  /** `live` while the server is followed; see Status. */
  get status(): Status {
    return this.#status;
  }

  /** Whether edits survive a reload of the page. */
  get persistent(): boolean {
    return this.#replica.persistent;
  }

  /** The number of edits that the server has not answered. */
  get pending(): number {
    return this.#replica.outbox.length;
  }

  /** Whether this tab is the one that is connected, for all tabs of this browser. */
  get leader(): boolean {
    return this.#tabs.leader;
  }

  /** collection gives the rows of a followed table. */
  collection<T extends object = Row>(entity: string): Collection<T> {
    const found = this.#collections.get(entity);
    if (!found) throw new Error(`gormsync: "${entity}" is not followed: add it to data-entities or options`);
    return found as unknown as Collection<T>;
  }

  /** on adds a listener and returns the function that removes it. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  /** start follows the server, until stop; also again after it refused. */
  start(): void {
    if (this.#started) return this.#greet();
    const { signal } = (this.#started = new AbortController());
    onWake(() => (this.#follower.wake(), this.#pusher.kick()), signal);
    // A page in the back/forward cache must hold nothing that others want.
    addEventListener('pagehide', () => void this.#tabs.leave(), { signal });
    addEventListener('pageshow', (e) => e.persisted && void this.#join(), { signal });
    void this.#replica.open().then(() => this.#join());
  }

  /** stop ends the connection, or leaves it to another tab; the rows stay as they are. */
  async stop(): Promise<void> {
    this.#started?.abort();
    this.#started = undefined;
    await this.#tabs.leave();
    this.#tell('stopped');
  }

  /** clear stops, and forgets all rows and all edits, sent or not, in every tab: for signing out. */
  async clear(): Promise<void> {
    this.#tabs.post({ cleared: true });
    await this.stop();
    await this.#tabs.alone(() => this.#replica.clear()); // when the leader has written its last
  }

  async #join(): Promise<void> {
    if (!this.#started) return;
    if (this.#status === 'stopped') this.#tell('connecting');
    this.#tabs.join(this.#replica.persistent);
    await this.#replica.load();
    this.#ready();
    this.#greet();
  }

  #greet(): void {
    const hello = [...this.#collections.keys()];
    if (this.leader) this.#follow(hello);
    else this.#tabs.post({ hello });
  }

  async #lead(alone: boolean): Promise<void> {
    this.#replica.alone = alone;
    await this.#replica.load();
    if (!this.leader) return;
    this.#follow([]);
    this.#pusher.start();
  }

  #follow(entities: readonly string[]): void {
    this.#follower.follow([...this.#collections.keys(), ...entities], this.#replica.cursors);
  }

  async #resign(): Promise<void> {
    this.#follower.stop();
    this.#pusher.stop();
    await this.#replica.idle();
  }

  #heard({ hello, status, cleared, ...written }: Message): void {
    if (cleared) void this.stop().then(() => this.#replica.forget());
    if (status && !this.leader) this.#tell(status);
    if (hello && this.leader) {
      this.#follow(hello);
      this.#tabs.post({ status: this.#status, ...(this.#replica.shared ? {} : this.#replica.everything()) });
    }
    void this.#replica.written(written).finally(() => this.leader && written.outbox && this.#pusher.nudge()).catch(() => {}); // it is read again before each push
  }

  #tell(status: Status): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#emitter.emit('status', { status, persistent: this.persistent });
  }

  #edit(entity: string, action: Action, id: string, data: Row | null): Mutation {
    if (!this.#asked) void navigator.storage?.persist?.().catch(() => {}); // after an action of the user, as browsers want it
    this.#asked = true;
    const { entry, stored } = this.#replica.edit(entity, action, id, data);
    const { mutation_id } = entry;
    const settled = new Promise<Outcome>((done) => this.#waiting.set(mutation_id, done));
    stored.catch(() => {}); // the event 'rejected' tells those who do not wait
    return { id, mutation_id, persisted: stored, settled };
  }

  #outcome(outcome: Outcome): void {
    const { status, mutation_id } = outcome;
    this.#waiting.get(mutation_id)?.(outcome);
    this.#waiting.delete(mutation_id);
    if (status === 'rejected') this.#emitter.emit('rejected', outcome);
    else if (status !== 'applied') this.#emitter.emit('conflict', outcome);
  }
}

/** createClient makes a client; it does nothing before start. */
export function createClient(options: ClientOptions): Client {
  if (!options.entities.length) throw new Error('gormsync: no entities: name the tables to follow');
  return new Client({ ...options, base: options.base.replace(/\/+$/, ''), entities: [...new Set(options.entities)] });
}
