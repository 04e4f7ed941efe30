import { Collection } from './collection';
import type { Status } from './state';
import type { Row } from './wire';
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
    status: {
        status: Status;
    };
}
/** What a client needs to know. */
export interface ClientOptions {
    /** Where the server's routes are mounted: the URL before `/sync/…`, such as `https://example.org/api`. */
    base: string;
    /** The tables to follow. */
    entities: string[];
}
/** Client holds the rows of some tables and keeps them as the server has them. */
export declare class Client {
    #private;
    /** `live` while the server is followed; see Status. */
    get status(): Status;
    /** collection gives the rows of a followed table. */
    collection<T extends object = Row>(entity: string): Collection<T>;
    /** on adds a listener and returns the function that removes it. */
    on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): () => void;
    /** start follows the server, until stop. */
    start(): void;
    /** stop ends the connection; the rows stay as they are. */
    stop(): void;
}
/** createClient makes a client; it does nothing before start. */
export declare function createClient(options: ClientOptions): Client;
