import type { Row } from './wire';
/** Collection is the rows of one table. */
export declare class Collection<T extends object = Row> {
    #private;
    /** get is the row with that primary key, written as text. */
    get(id: string): T | undefined;
    /** all lists the rows in no particular order. It is the same array as long as no row changed. */
    all(): readonly T[];
    /** subscribe calls back with all rows, now and after every change, and returns the function that ends it. */
    subscribe(listener: (rows: readonly T[]) => void): () => void;
}
