import { type ClientFrame } from './wire';
/** What a Socket tells its owner. It never calls from within a call to the Socket. */
export interface SocketEvents {
    opened(): void;
    closed(verdict: 'closed' | 'refused', reason: string): void;
    received(data: string): void;
}
/**
 * Socket is a WebSocket that is opened again when it closes. The pause before
 * each try is its owner's: partysocket's own delays have no jitter and cannot
 * be cut short, so they are zero here and the pause is spent in fetching the URL.
 */
export declare class Socket {
    #private;
    constructor(url: string, events: SocketEvents);
    /** open opens the socket after a pause; what was open before is dropped. */
    open(pause: number): void;
    /** hurry ends the pause. */
    hurry(): void;
    /** close closes the socket and leaves it closed. */
    close(): void;
    /** send sends a frame; on a socket that is not open it is dropped. */
    send(frame: ClientFrame): void;
}
