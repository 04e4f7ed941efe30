import { Collection } from './collection.js';
import type { Outcome } from './outbox.js';
import { type Source } from './replica.js';
import type { Status } from './state.js';
import type { Row } from './wire.js';
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
    pending: {
        pending: number;
    };
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
/** Client holds the rows of some tables, keeps them as the server has them, and brings this device's edits there. */
export declare class Client {
    #private;
    /** Fulfilled when the rows that the browser had stored are there. */
    readonly ready: Promise<void>;
    /** `live` while the server is followed; see Status. */
    get status(): Status;
    /** Whether edits survive a reload of the page. */
    get persistent(): boolean;
    /** The number of edits that the server has not answered. */
    get pending(): number;
    /** Whether this tab is the one that is connected, for all tabs of this browser. */
    get leader(): boolean;
    /** collection gives the rows of a followed table. */
    collection<T extends object = Row>(entity: string): Collection<T>;
    /** on adds a listener and returns the function that removes it. */
    on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): () => void;
    /** start follows the server, until stop; also again after it refused. */
    start(): void;
    /** stop ends the connection, or leaves it to another tab; the rows stay as they are. */
    stop(): Promise<void>;
    /** clear stops, and forgets all rows and all edits, sent or not, in every tab: for signing out. */
    clear(): Promise<void>;
}
/** createClient makes a client; it does nothing before start. */
export declare function createClient(options: ClientOptions): Client;
