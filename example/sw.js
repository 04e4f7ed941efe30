// Keeps the page itself, so that it can be reloaded without a server. The to-dos
// are not its business: gormsync keeps those.
const kept = 'todo-1';
const files = ['/', '/page.css', '/page.js', '/api/sync/client.js'];

self.addEventListener('install', (event) => event.waitUntil(caches.open(kept).then((cache) => cache.addAll(files)).then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

async function fresh(request) {
  const cache = await caches.open(kept);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const old = await cache.match(request);
    if (!old) throw error;
    return old;
  }
}

self.addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  if (method === 'GET' && files.includes(new URL(url).pathname)) event.respondWith(fresh(event.request));
});
