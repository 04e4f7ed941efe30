import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const events: unknown[];

let browser: Browser;
let server: MockServer;
let url: string;
let page: Page;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

beforeEach(async () => {
  server = new MockServer();
  url = await server.listen();
  server.put('a', { id: 'a', title: 'first' });
  server.put('b', { id: 'b', title: 'second' });
  page = await (await browser.newContext()).newPage();
  await page.context().addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
});
afterEach(async () => {
  await page.context().close();
  server.close();
});

const record = `<script>
  window.events = [];
  for (const name of ['sync:todos:changed', 'sync:status'])
    window.addEventListener(name, (e) => events.push([name, e.target === document.body, e.detail]));
</script>`;

async function open(): Promise<void> {
  await page.goto(url);
  await live();
}

const status = (want: string) => page.waitForFunction((want) => gormsync.status === want, want);
const live = () => status('live');
const titles = () => page.evaluate(() => Object.fromEntries(gormsync.collection('todos').all().map((row) => [row['id'], row['title']])));

/** Waits until the page holds exactly these rows. */
async function holds(want: Record<string, string>): Promise<void> {
  await expect.poll(titles).toEqual(want);
}

test('a snapshot, then live changes', async () => {
  await open();
  await holds({ a: 'first', b: 'second' });
  expect(server.subscribes).toEqual([{ type: 'subscribe', entities: ['todos'], since: { todos: 'c1-2' }, batch: true }]);

  server.put('c', { id: 'c', title: 'third' });
  server.put('a', { id: 'a', title: 'first again' });
  server.put('b', null);
  await holds({ a: 'first again', c: 'third' });
  expect(await page.evaluate(() => gormsync.collection('todos').get('c'))).toEqual({ id: 'c', title: 'third' });
});

test('listeners and DOM events tell what changed, once for a transaction', async () => {
  server.pages['/'] = [`${record}<script src="/api/sync/client.js" data-entities="todos"></script>`, `<script>
    gormsync.collection('todos').subscribe((rows) => events.push(['rows', rows.length]));
    gormsync.on('change', (e) => events.push(['change', e]));
  </script>`];
  await open();
  server.transaction([['c', { id: 'c', title: 'x' }], ['a', null], ['c', { id: 'c', title: 'y' }]], 'todos', 3);
  await holds({ b: 'second', c: 'y' });
  const change = (ids: string[]) => ({ entity: 'todos', ids, source: 'remote' });
  expect(await page.evaluate(() => events)).toEqual([
    ['rows', 0],
    ['sync:status', true, { status: 'connecting', persistent: true }],
    ['rows', 2],
    ['sync:todos:changed', true, change(['a', 'b'])],
    ['change', change(['a', 'b'])],
    ['sync:status', true, { status: 'live', persistent: true }],
    ['rows', 2],
    ['sync:todos:changed', true, change(['c', 'a'])],
    ['change', change(['c', 'a'])],
  ]);
});

test('a long transaction that is cut in the middle is not half applied, and comes whole after', async () => {
  await open();
  const cursor = server.cursor;
  server.send({ type: 'changes', more: true, changes: [{ id: 3, entity: 'todos', entity_id: 'c', action: 'create', version: 3, data: { id: 'c', title: 'half' } }] });
  server.send({ type: 'heartbeat', cursor: 'c1-99' });
  server.drop(1012);
  await expect.poll(() => server.subscribes.length).toBe(2);
  expect(server.subscribes[1]?.since).toEqual({ todos: cursor });
  await holds({ a: 'first', b: 'second' });
});

test('after a cut it resumes from its cursor: what was missed arrives, and no snapshot is taken', async () => {
  await open();
  server.put('c', { id: 'c', title: 'third' });
  await holds({ a: 'first', b: 'second', c: 'third' });
  server.down = true;
  server.drop();
  await status('reconnecting');
  server.put('d', { id: 'd', title: 'missed' });
  server.put('a', null);
  server.down = false;
  await holds({ b: 'second', c: 'third', d: 'missed' });
  await live();
  const resumed = [...server.subscribes.map((s) => s.since['todos']), ...server.streams.map((stream) => stream.split(' ')[1])]; // whichever got through
  expect(resumed).toEqual(['c1-2', 'c1-3']);
  expect(server.snapshots).toEqual(['todos']);
});

test('where upgrades are refused it follows by server-sent events, and goes back to the WebSocket', async () => {
  server.refuse = true;
  await open();
  expect(server.streams).toEqual(['todos c1-2']);
  server.put('c', { id: 'c', title: 'third' });
  await holds({ a: 'first', b: 'second', c: 'third' });
  server.down = true;
  server.drop();
  await status('reconnecting');
  server.put('d', { id: 'd', title: 'missed' });
  server.down = false;
  await holds({ a: 'first', b: 'second', c: 'third', d: 'missed' });
  await live();
  expect(server.streams.slice(1)).toEqual(['todos c1-3']);
  expect(server.snapshots).toEqual(['todos']);
  server.refuse = false;
  server.drop();
  await expect.poll(() => server.subscribes.map((s) => s.since)).toEqual([{ todos: 'c1-4' }]);
});

test('a stream whose cursor has expired takes a new snapshot', async () => {
  server.refuse = true;
  await open();
  server.restore({ c: { id: 'c', title: 'from the backup' } });
  server.drop();
  await holds({ c: 'from the backup' });
  await live();
  expect(server.snapshots).toEqual(['todos', 'todos']);
});

test('a heartbeat moves the cursor of a quiet table', async () => {
  await open();
  server.send({ type: 'heartbeat', cursor: 'c1-1' });
  server.drop(1012);
  await expect.poll(() => server.subscribes[1]?.since).toEqual({ todos: 'c1-1' });
});

test('an expired cursor: a new snapshot takes the place of the rows, and only what differs is told', async () => {
  server.pages['/'] = [`${record}<script src="/api/sync/client.js" data-entities="todos"></script>`, ''];
  await open();
  await holds({ a: 'first', b: 'second' });
  await page.evaluate(() => events.splice(0));
  server.restore({ a: { id: 'a', title: 'first' }, c: { id: 'c', title: 'from the backup' } });
  server.drop();
  await holds({ a: 'first', c: 'from the backup' });
  await live();
  expect(await page.evaluate(() => events.filter((e) => (e as string[])[0] === 'sync:todos:changed'))).toEqual([
    ['sync:todos:changed', true, { entity: 'todos', ids: ['b', 'c'], source: 'remote' }],
  ]);
  server.put('c', { id: 'c', title: 'goes on' });
  await holds({ a: 'first', c: 'goes on' });
});

test('a half-open link is found by a probe when the page wakes', async () => {
  await page.clock.install();
  await open();
  server.frozen = true;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await page.clock.runFor(3000); // the clock also runs by itself, so no bound here is sharp
  expect(await page.evaluate(() => gormsync.status)).toBe('live');
  await page.clock.runFor(2100);
  await status('reconnecting');
  server.frozen = false;
  await page.clock.runFor(31_000);
  await live();
});

test('after 30 seconds of silence it asks, and an answer is enough', async () => {
  await page.clock.install();
  await open();
  await page.clock.runFor(25_000);
  expect(server.pings).toBe(0);
  await page.clock.runFor(5100);
  await expect.poll(() => server.pings).toBe(1);
  await page.clock.runFor(25_000);
  expect(await page.evaluate(() => gormsync.status)).toBe('live');
  expect(server.subscribes.length).toBe(1);
});

test('waking cuts the pause before the next try short', async () => {
  await page.clock.install();
  await page.addInitScript(() => (Math.random = () => 0.99));
  await open();
  server.down = true;
  server.drop();
  await status('reconnecting');
  await page.clock.runFor(20_000); // some failures later the pause is long
  server.down = false;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await page.clock.runFor(100);
  await live();
});

test('a snapshot that fails for now is tried again', async () => {
  server.failWith = [503, 500];
  await page.goto(url);
  await live();
  await holds({ a: 'first', b: 'second' });
});

test.each([
  ['a refused snapshot', async () => { server.failWith = [403]; await page.goto(url); }],
  ['a close that says not to come back', async () => { await open(); server.drop(4003); }],
  ['an error that says so', async () => { await open(); server.send({ type: 'error', code: 'unknown_entity', message: 'no' }); }],
])('%s stops it, and says so, until the page starts it again', async (_, provoke) => {
  const logged: string[] = [];
  page.on('console', (message) => logged.push(message.text()));
  await provoke();
  await status('stopped');
  await expect.poll(() => server.sockets).toBe(0);
  await expect.poll(() => logged.join('\n')).toMatch(/gormsync: refused: (Error: .* answered 403: status 403 for a test|test|unknown_entity: no)/);
  await page.evaluate(() => gormsync.start());
  await live();
});

test('stop ends the connection and keeps the rows', async () => {
  await open();
  await page.evaluate(() => gormsync.stop());
  await expect.poll(() => server.sockets).toBe(0);
  expect(await page.evaluate(() => gormsync.status)).toBe('stopped');
  await holds({ a: 'first', b: 'second' });
});

test('several entities are followed together', async () => {
  server.put('l', { id: 'l', title: 'a list' }, 'lists');
  server.pages['/'] = ['<script src="/api/sync/client.js" data-entities="todos, lists"></script>', ''];
  await open();
  expect(server.subscribes[0]?.since).toEqual({ todos: 'c1-3', lists: 'c1-3' });
  server.put('m', { id: 'm', title: 'another' }, 'lists');
  await expect.poll(() => page.evaluate(() => gormsync.collection('lists').all().length)).toBe(2);
  await holds({ a: 'first', b: 'second' });
  expect(await page.evaluate(() => { try { gormsync.collection('nope'); return ''; } catch (e) { return String(e); } })).toContain('data-entities');
});

test('an entity that another tab adds later is taken by a snapshot of its own, and followed for it', async () => {
  server.put('l', { id: 'l', title: 'a list' }, 'lists');
  server.pages['/two'] = ['<script src="/api/sync/client.js" data-entities="todos,lists"></script>', ''];
  await open();
  const two = await page.context().newPage();
  await two.goto(`${url}/two`);
  await expect.poll(() => two.evaluate(() => gormsync.collection('lists').all())).toEqual([{ id: 'l', title: 'a list' }]);
  await live();
  expect(server.snapshots).toEqual(['todos', 'lists']);
  expect(await two.evaluate(() => gormsync.leader), 'the old tab follows it for the new one').toBe(false);

  const since = async (want: Record<string, string>) => {
    const before = server.subscribes.length;
    server.drop(1012);
    await expect.poll(() => server.subscribes[before]?.since).toEqual(want);
    await live();
  };
  server.put('c', { id: 'c', title: 'third' });
  await holds({ a: 'first', b: 'second', c: 'third' });
  await since({ todos: 'c1-4', lists: 'c1-4' });
  server.put('m', { id: 'm', title: 'another' }, 'lists');
  await expect.poll(() => two.evaluate(() => gormsync.collection('lists').all().length)).toBe(2);
  await two.close();
});

test('entities that stand at different places keep their own cursors until a heartbeat speaks for all', async () => {
  server.cursors = { lists: 'c1-1' };
  server.pages['/two'] = ['<script src="/api/sync/client.js" data-entities="todos,lists"></script>', ''];
  await open();
  const two = await page.context().newPage();
  await two.goto(`${url}/two`);
  await expect.poll(() => server.subscribes[1]?.since).toEqual({ todos: 'c1-2', lists: 'c1-1' });
  server.put('c', { id: 'c', title: 'third' });
  await holds({ a: 'first', b: 'second', c: 'third' });
  const since = async (want: Record<string, string>) => {
    const before = server.subscribes.length;
    server.drop(1012);
    await expect.poll(() => server.subscribes[before]?.since).toEqual(want);
    await live();
  };
  await since({ todos: 'c1-3', lists: 'c1-1' });
  server.send({ type: 'heartbeat', cursor: 'c1-3' });
  await since({ todos: 'c1-3', lists: 'c1-3' });
  await two.close();
});
