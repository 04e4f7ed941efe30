import type { Client } from './client.js';
/**
 * domEvents repeats the client's events as DOM events on document.body, for
 * libraries that work by attributes: `<prefix>:<entity>:changed`, and
 * `<prefix>:` with status, pending, conflict and rejected. They bubble, so that
 * a listener on window hears them too.
 */
export declare function domEvents(client: Client, prefix?: string): void;
