import { type Snapshot } from './wire';
/** LoadError is a snapshot that could not be had, and what that means for the follower. */
export declare class LoadError extends Error {
    readonly verdict: 'failed' | 'refused';
    readonly name = "LoadError";
    constructor(verdict: 'failed' | 'refused', message: string);
}
/** load takes a snapshot of every entity. onProgress is called as bytes arrive. */
export declare function load(base: string, entities: readonly string[], signal: AbortSignal, onProgress: () => void): Promise<Snapshot[]>;
