import type { Change, Row } from './wire';
/** Rows holds the rows of one entity by id. */
export declare class Rows {
    #private;
    /**
     * apply takes one change and reports whether the row is another one now. A
     * change older than what is held is ignored: versions of a row only grow, so
     * it was delivered a second time.
     */
    apply(change: Change): boolean;
    /**
     * replace puts a snapshot in the place of everything held and returns the ids
     * of the rows that differ. What was held before has no say: after a restored
     * backup the versions may be smaller than they were.
     */
    replace(snapshot: readonly Change[]): string[];
    /** get is the row with that id. */
    get(id: string): Row | undefined;
    /** all lists the rows. It is the same array until a row changes. */
    all(): readonly Row[];
}
