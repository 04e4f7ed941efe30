import { type Address, type Snapshot } from './wire.js';
/** LoadError is an answer that could not be had, and what that means. Where there was no answer at all the error has neither. */
export interface LoadError extends Error {
    verdict?: 'failed' | 'refused' | 'reset';
    status?: number;
}
/** ask fetches and fails, with a LoadError unless there is no answer, if the answer is not a good one. */
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
