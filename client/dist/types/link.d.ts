import { type Address, type ClientFrame } from './wire.js';
/** What a link tells its owner. It never calls from within the call that opens it, and never after close. */
export interface LinkEvents {
    opened: () => void;
    failed: (verdict: 'failed' | 'refused' | 'reset', reason: string) => void;
    received: (frame: string) => void;
}
/** Link is one live connection. It is used once: after a failure its owner opens another. */
export interface Link {
    /** send sends a frame; a link that cannot send drops it. */
    send(frame: ClientFrame): void;
    close(): void;
}
/** openSocket opens a WebSocket. */
export declare function openSocket(at: Address, on: LinkEvents): Link;
/** places lists the cursors and the entities that stand there. */
export declare function places(cursors: Record<string, string>): [cursor: string, entities: string[]][];
/**
 * openEvents opens server-sent events, one stream for each place: usually one.
 * What arrives looks as if it came over a WebSocket.
 */
export declare function openEvents(at: Address, cursors: Record<string, string>, on: LinkEvents): Link;
