// The database of the browser: deleted under the page, dead, full of edits, not open yet.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const told: string[];
declare const counts: number[];
declare global {
  interface Window {
    reads: number;
  }
}
declare let reads: number;

let browser: Browser;
let server: MockServer;
let url: string;
let context: BrowserContext;

const tag = '<script src="/api/sync/client.js" data-entities="todos"></script>';
const head = `${tag}<script>
  window.told = []; window.counts = [];
  for (const name of ['sync:conflict', 'sync:rejected']) addEventListener(name, (e) => told.push(name + ' ' + e.detail.error?.code));
  addEventListener('sync:pending', (e) => counts.push(e.detail.pending));
</script>`;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  server = new MockServer();
  server.pages['/'] = [head, ''];
  url = await server.listen();
  for (let i = 0; i < 30; i++) server.put(`r${i}`, { id: `r${i}`, title: `row ${i}` });
  context = await browser.newContext();
  await context.addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
});
afterEach(async () => {
  await context.close();
  server.close();
});

async function tab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  await page.waitForFunction(() => gormsync.status === 'live');
  return page;
}

const size = (page: Page) => page.evaluate(() => gormsync.collection('todos').all().length);
const pending = (page: Page) => page.evaluate(() => gormsync.pending);
const insert = (page: Page, id: string) => page.evaluate((id) => gormsync.collection('todos').insert({ id, title: 'new' }).persisted, id);

/** deleteDatabase does what 'clear site data' does to an open page: its connections are closed, its data are gone. */
const deleteDatabase = (page: Page) =>
  page.evaluate(async () => {
    for (const { name } of await indexedDB.databases())
      await new Promise<void>((done, failed) => {
        const request = indexedDB.deleteDatabase(String(name));
        request.onsuccess = () => done();
        request.onblocked = () => failed(new Error('a page holds on to the database'));
      });
  });

async function goDown(page: Page): Promise<void> {
  server.down = true;
  server.drop();
  await page.waitForFunction(() => gormsync.status !== 'live'); // 'connecting' for a tab that has led for a moment only
}

test('deleted while the page is open: after more changes and a reload all rows are there', async () => {
  const page = await tab();
  await deleteDatabase(page);
  server.put('x', { id: 'x', title: 'after' });
  server.put('r0', null);
  await expect.poll(() => size(page)).toBe(30);
  await insert(page, 'y');
  await expect.poll(() => pending(page)).toBe(0);
  await goDown(page);
  await page.reload(); // without a server: what is stored must be whole
  await page.evaluate(() => gormsync.ready);
  expect(await size(page)).toBe(31);
  server.down = false;
  await page.waitForFunction(() => gormsync.status === 'live');
  expect(await size(page)).toBe(31);
});

test('deleted while edits wait: they are sent, once, also after a reload', async () => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  await insert(page, 'kept');
  await deleteDatabase(page);
  await insert(page, 'later');
  expect(await pending(page)).toBe(2);
  server.down = true;
  await page.reload();
  await page.evaluate(() => gormsync.ready);
  expect(await pending(page)).toBe(2);
  server.down = false;
  await page.waitForFunction(() => gormsync.status === 'live');
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.applied).toHaveLength(2);
  expect(await size(page)).toBe(32);
});

test('stopped, edited, deleted, started: the edit is sent', async () => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  await insert(page, 'kept');
  await deleteDatabase(page);
  await page.evaluate(() => gormsync.start());
  await page.waitForFunction(() => gormsync.status === 'live');
  await expect.poll(() => server.row('kept')).not.toBeNull();
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.applied).toHaveLength(1);
  expect(await size(page)).toBe(31);
});

test('deleted under a page that does nothing: another tab still finds its edit, and sends it', async () => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  await insert(page, 'kept');
  await deleteDatabase(page);
  const other = await tab();
  await expect.poll(() => server.row('kept')).not.toBeNull();
  await expect.poll(() => size(other)).toBe(31);
  await page.evaluate(() => gormsync.start());
  for (const one of [page, other]) await expect.poll(() => pending(one)).toBe(0);
  expect(server.applied).toHaveLength(1);
});

test('deleted under two tabs, with edits of both: nothing is lost, and a third tab sees all', async () => {
  const [one, two] = [await tab(), await tab()];
  await goDown(one);
  await insert(one, 'by one');
  await insert(two, 'by two');
  for (const page of [one, two]) await expect.poll(() => pending(page)).toBe(2);
  await deleteDatabase(two);
  const three = await context.newPage();
  await three.goto(url);
  await three.evaluate(() => gormsync.ready);
  expect([await size(three), await pending(three)]).toEqual([32, 2]);
  server.down = false;
  await expect.poll(() => server.applied.length).toBe(2);
  for (const page of [one, two, three]) {
    await expect.poll(() => pending(page)).toBe(0);
    await expect.poll(() => size(page)).toBe(32);
    expect(await page.evaluate(() => told)).toEqual([]);
  }
  server.put('x', { id: 'x', title: 'after' });
  await expect.poll(() => size(three)).toBe(33);
  await one.close();
  await two.close();
  await three.waitForFunction(() => gormsync.leader && gormsync.status === 'live');
  await goDown(three);
  await three.reload();
  await three.evaluate(() => gormsync.ready);
  expect(await size(three)).toBe(33);
});

test.each(['idle', 'busy'])('site data cleared by the browser under a page that is %s: all is stored again', async (how) => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  await insert(page, 'kept');
  if (how === 'busy') void page.evaluate(async () => { for (let i = 0; i < 20; i++) await gormsync.collection('todos').insert({ id: `n${i}`, title: 'new' }).persisted; });
  const session = await context.newCDPSession(page);
  await session.send('Storage.clearDataForOrigin', { origin: url, storageTypes: 'indexeddb' }); // connections are cut, not asked
  const edits = how === 'busy' ? 22 : 2;
  await insert(page, 'later');
  await expect.poll(() => pending(page)).toBe(edits);
  server.down = true;
  await page.reload();
  await page.evaluate(() => gormsync.ready);
  expect([await size(page), await pending(page)]).toEqual([30 + edits, edits]);
  server.down = false;
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.applied).toHaveLength(edits);
  expect(await page.evaluate(() => told)).toEqual([]);
});

test('an edit that is made before the database is open is kept and sent', async () => {
  server.put('a', { id: 'a', title: 'first' });
  const page = await tab();
  await goDown(page);
  server.pages['/'] = [`${head}<script>
    const todos = gormsync.collection('todos');
    todos.insert({ id: 'early', title: 'new' });
    todos.update('a', { title: 'renamed' });
  </script>`, ''];
  await page.reload();
  await page.evaluate(() => gormsync.ready);
  await expect.poll(() => pending(page)).toBe(2);
  expect(await page.evaluate(() => gormsync.collection('todos').get('a'))).toMatchObject({ title: 'renamed' });
  server.pages['/'] = [head, ''];
  await page.reload();
  await page.evaluate(() => gormsync.ready);
  expect(await pending(page)).toBe(2);
  server.down = false;
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.row('early')).toMatchObject({ title: 'new' });
  expect(server.row('a'), 'its base was the stored row').toMatchObject({ title: 'renamed' });
});

test('a database that never answers is given up: the page is live, and says that it keeps nothing', async () => {
  await context.addInitScript(() => (indexedDB.open = () => ({}) as IDBOpenDBRequest));
  const page = await tab();
  expect(await page.evaluate(() => gormsync.persistent)).toBe(false);
  expect(await size(page)).toBe(30);
  expect((await page.evaluate(() => gormsync.collection('todos').insert({ id: 'x', title: 'new' }).settled)).status).toBe('applied');
});

test('edits that could not be stored are not lost when storage works again', async () => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  await page.evaluate(() => {
    const { open } = indexedDB;
    Object.assign(window, { repair: () => (indexedDB.open = open) });
    indexedDB.open = () => {
      throw new DOMException('broken', 'SecurityError');
    };
    gormsync.start();
  });
  await page.waitForFunction(() => gormsync.status === 'live');
  expect(await page.evaluate(() => gormsync.persistent)).toBe(false);
  await goDown(page);
  await insert(page, 'kept');
  await page.evaluate(() => gormsync.stop());
  await page.evaluate('repair()');
  server.down = false;
  await page.evaluate(() => gormsync.start());
  await page.waitForFunction(() => gormsync.status === 'live');
  expect(await page.evaluate(() => gormsync.persistent)).toBe(true);
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.row('kept')).not.toBeNull();
});

test('thousands of edits made offline are stored, survive a reload and are sent, without going through all of them for each', async () => {
  const count = Number(process.env.EDITS ?? 2_000);
  await context.addInitScript(() => {
    window.reads = 0; // stored edits that the page read
    const getAll = IDBObjectStore.prototype.getAll;
    IDBObjectStore.prototype.getAll = function (...args) {
      const request = getAll.apply(this, args);
      if (this.name === 'outbox') request.addEventListener('success', () => (reads += request.result.length));
      return request;
    };
  });
  const page = await tab();
  await goDown(page);
  await page.evaluate(() => ((reads = 0), counts.splice(0)));
  await page.evaluate(async (count) => {
    const todos = gormsync.collection('todos');
    await Promise.all(Array.from({ length: count }, (_, i) => todos.insert({ id: `n${i}`, title: 'made offline' }).persisted));
  }, count);
  expect(await page.evaluate(() => counts.length), 'one event for each edit').toBe(count);
  expect(await page.evaluate(() => reads), 'storing an edit does not read the others').toBeLessThan(count * 50); // reading all for each is count * count / 2
  await page.reload();
  await page.evaluate(() => gormsync.ready);
  expect(await pending(page)).toBe(count);
  server.down = false;
  await expect.poll(() => pending(page), { timeout: 500_000, interval: 500 }).toBe(0);
  expect(server.applied).toHaveLength(count);
  expect(new Set(server.applied).size).toBe(count);
  expect(server.pushes.length, 'requests are full').toBeLessThan(count / 100 + 20);
  expect(await page.evaluate(() => reads), 'what is left is read about once for each request').toBeLessThan(count * 100);
  expect(await size(page)).toBe(count + 30);
  expect(await page.evaluate(() => told)).toEqual([]);
}, 600_000);
