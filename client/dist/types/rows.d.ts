import type { Entry, Held } from './outbox.js';
import type { Row } from './wire.js';
/** same compares rows by value, field by field: most values are plain, and compared at no cost. */
export declare const same: (a: Row | undefined, b: Row | undefined) => boolean;
/** newest is the last word on each row. */
export declare function newest(rows: readonly Held[]): Held[];
/**
 * Rows is one table as this device sees it: the server's rows, and on top of
 * them, in their order, the edits that the server has not answered. To take an
 * edit back is to leave it out.
 */
export declare class Rows {
    #private;
    /** held is what the server said of a row. */
    held(id: string): Held | undefined;
    /** known is every row that the server spoke of. */
    known(): Iterable<Held>;
    /**
     * put takes the server's word on a row, unless it is older than what is held:
     * versions of a row only grow, so then it was delivered a second time.
     */
    put(row: Held): void;
    /**
     * clear forgets what the server said. What comes after may be older: after a
     * restored backup versions are smaller than they were.
     */
    clear(): void;
    /** edit lays these edits over the rows, instead of those before. */
    edit(edits: readonly Entry[]): void;
    /** add lays one more edit on top. */
    add(edit: Entry): void;
    /** get is the row with that id, edits included. */
    get(id: string): Row | undefined;
    /** all lists the rows. It is the same array until something changes. */
    all(): readonly Row[];
}
