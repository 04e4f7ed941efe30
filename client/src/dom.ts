import type { Client } from './client.js';

/**
 * domEvents repeats the client's events as DOM events on document.body, for
 * libraries that work by attributes: `<prefix>:<entity>:changed`, and
 * `<prefix>:` with status, pending, conflict and rejected. They bubble, so that
 * a listener on window hears them too.
 */
export function domEvents(client: Client, prefix = 'sync'): void {
  const dispatch = (name: string, detail: unknown) =>
    document.body.dispatchEvent(new CustomEvent(`${prefix}:${name}`, { bubbles: true, detail }));
  client.on('change', (event) => dispatch(`${event.entity}:changed`, event));
  for (const name of ['status', 'pending', 'conflict', 'rejected'] as const) client.on(name, (event) => dispatch(name, event));
}
