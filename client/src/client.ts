import { Collection } from './collection';
import { Emitter } from './emitter';
import { Follower } from './follower';
import type { Status } from './state';
import type { Change, Row, Snapshot } from './wire';

/** Rows of one entity became others: created, changed or deleted. */
export interface ChangeEvent {
  entity: string;
  ids: string[];
  /** Who changed them: `remote` is the server. */
  source: 'remote';
}

/** The events of a client by name. */
export interface ClientEvents {
  change: ChangeEvent;
  status: { status: Status };
}

/** What a client needs to know. */
export interface ClientOptions {
  /** Where the server's routes are mounted: the URL before `/sync/…`, such as `https://example.org/api`. */
  base: string;
  /** The tables to follow. */
  entities: string[];
}

/** Client holds the rows of some tables and keeps them as the server has them. */
export class Client {
  readonly #emitter = new Emitter<ClientEvents>();
  readonly #collections: Map<string, Collection>;
  readonly #follower: Follower;

  /** @internal createClient checks the options. */
  constructor(options: ClientOptions) {
    this.#collections = new Map(options.entities.map((entity) => [entity, new Collection()]));
    this.#follower = new Follower(options.base, options.entities, {
      snapshots: (snapshots) => this.#replace(snapshots),
      changes: (changes) => this.#apply(changes),
      status: (status) => this.#emitter.emit('status', { status }),
    });
  }

  /** `live` while the server is followed; see Status. */
  get status(): Status {
    return this.#follower.status;
  }

  /** collection gives the rows of a followed table. */
  collection<T extends object = Row>(entity: string): Collection<T> {
    const found = this.#collections.get(entity);
    if (!found) throw new Error(`gormsync: "${entity}" is not followed: add it to data-entities or to options.entities`);
    return found as unknown as Collection<T>;
  }

  /** on adds a listener and returns the function that removes it. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  /** start follows the server, until stop. */
  start(): void {
    this.#follower.start();
  }

  /** stop ends the connection; the rows stay as they are. */
  stop(): void {
    this.#follower.stop();
  }

  #replace(snapshots: Snapshot[]): void {
    const ids = new Map<string, string[]>();
    for (const { entity, changes } of snapshots) ids.set(entity, this.#collections.get(entity)?.rows.replace(changes) ?? []);
    this.#tell(ids);
  }

  #apply(changes: Change[]): void {
    const ids = new Map<string, Set<string>>();
    for (const change of changes) {
      if (!this.#collections.get(change.entity)?.rows.apply(change)) continue;
      ids.set(change.entity, (ids.get(change.entity) ?? new Set()).add(change.entity_id));
    }
    this.#tell(ids);
  }

  /** Listeners are told when all is in place, so that they never see half of a transaction. */
  #tell(changed: Map<string, Iterable<string>>): void {
    for (const [entity, ids] of changed) {
      const event: ChangeEvent = { entity, ids: [...ids], source: 'remote' };
      if (!event.ids.length) continue;
      this.#collections.get(entity)?.tell();
      this.#emitter.emit('change', event);
    }
  }
}

/** createClient makes a client; it does nothing before start. */
export function createClient(options: ClientOptions): Client {
  if (!options.entities.length) throw new Error('gormsync: no entities: name the tables to follow, for example entities: ["todos"]');
  return new Client({ base: options.base.replace(/\/+$/, ''), entities: [...new Set(options.entities)] });
}
