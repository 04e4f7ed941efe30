import type { Outcome } from './outbox.js';
import type { Row } from './wire.js';
/** An edit on its way. */
export interface Mutation {
    /** The key of the row; for a key that the database makes, the one it has until the server answers. */
    id: string;
    mutation_id: string;
    /** Fulfilled when the edit is stored on this device and survives a reload; rejected when it cannot be stored. */
    persisted: Promise<void>;
    /** Fulfilled with the server's answer, be it late or a refusal; never while the page is closed before. */
    settled: Promise<Outcome>;
}
/** Collection is the rows of one table, with this device's edits. */
export declare class Collection<T extends object = Row> {
    #private;
    /** get is the row with that primary key, written as text. */
    get(id: string): T | undefined;
    /** all lists the rows in no particular order. It is the same array as long as no row changed. */
    all(): readonly T[];
    /**
     * insert adds a row, here at once and then on the server. Its key is `id`, or
     * the row's own `id`, or a new UUID; a key that the database makes takes the
     * place of that one when the server answers.
     */
    insert(row: Partial<T>, id?: string): Mutation;
    /** update sets some fields of a row. */
    update(id: string, fields: Partial<T>): Mutation;
    /** delete deletes a row. */
    delete(id: string): Mutation;
    /** subscribe calls back with all rows, now and after every change, and returns the function that ends it. */
    subscribe(listener: (rows: readonly T[]) => void): () => void;
}
