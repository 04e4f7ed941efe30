import { type Address, type Snapshot } from './wire.js';
/** LoadError is an answer that could not be had, and what that means for the follower. */
export declare class LoadError extends Error {
    readonly verdict: 'failed' | 'refused' | 'reset';
    readonly status: number;
    constructor(verdict: LoadError['verdict'], message: string, status?: number);
}
/** ask fetches and fails with a LoadError unless the answer is a good one. */
export declare function ask(url: string, init: RequestInit): Promise<Response>;
/**
 * load takes a snapshot of every entity, and before that the cursor from which
 * they are to be followed: what changes meanwhile is then told again.
 * onProgress is called as bytes arrive.
 */
export declare function load(at: Address, entities: readonly string[], signal: AbortSignal, onProgress: () => void): Promise<{
    cursor: string;
    snapshots: Snapshot[];
}>;
