// The whole client for `<script src="/api/sync/client.js" data-entities="todos"></script>`.
import { createClient, type Client } from './client.js';
import { domEvents } from './dom.js';
import { forms } from './form.js';

declare global {
  interface Window {
    gormsync?: Client;
  }
}

// Now or never: in every later callback document.currentScript is null.
const script = document.currentScript as HTMLScriptElement | null;

/** Reads the script's own tag: it was loaded from `<base>/sync/client.js`. */
function fromTag(tag: HTMLScriptElement): Client {
  const names = (tag.dataset['entities'] ?? '').trim().split(/\s*,\s*/);
  const { user = '', eventPrefix } = tag.dataset;
  const client = createClient({ base: new URL('..', tag.src).href, entities: names.filter(Boolean), user });
  domEvents(client, eventPrefix);
  forms(client);
  return client;
}

/** A page that is still being read gets the time to add its listeners, and its body. */
function whenRead(start: () => void): void {
  if (document.readyState !== 'loading') start();
  else document.addEventListener('DOMContentLoaded', start);
}

if (!script?.src) {
  console.error('gormsync: load it by <script src="…/client.js" data-entities="…">');
} else if (!window.gormsync) { // a second tag, or the same one run again by a page swap, changes nothing
  const client = (window.gormsync = fromTag(script));
  whenRead(() => client.start());
}
