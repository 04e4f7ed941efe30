// Several tabs of one browser, and what becomes of them.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import type { Row } from '../../src/wire';
import { launch, launchProfile } from './chromium';
import { MockServer } from './mock';
import { Proxy } from './proxy';

declare const gormsync: Client;
declare const heard: [source: string, ids: string[]][];

let browser: Browser;
let server: MockServer;
let proxy: Proxy;
let url: string;
let context: BrowserContext;

const head = `<script src="/api/sync/client.js" data-entities="todos"></script><script>
  window.heard = []; addEventListener('sync:todos:changed', (e) => heard.push([e.detail.source, e.detail.ids]));
</script>`;

beforeAll(async () => {
  browser = await launch('--disable-features=BackForwardCacheMemoryControls');
});
afterAll(() => browser.close());

beforeEach(async () => {
  server = new MockServer();
  server.pages['/'] = server.pages['/away'] = [head, ''];
  server.pages['/blank'] = ['', 'elsewhere'];
  proxy = new Proxy();
  url = await proxy.listen(Number(new URL(await server.listen()).port));
  server.put('a', { id: 'a', title: 'first' });
  context = await browser.newContext();
  await context.addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
});
afterEach(async () => {
  await context.close();
  proxy.close();
  server.close();
});

async function tab(in_ = context): Promise<Page> {
  const page = await in_.newPage();
  await page.goto(url);
  await live(page);
  return page;
}

const live = (page: Page) => page.waitForFunction(() => gormsync.status === 'live');
const leads = (page: Page) => page.evaluate(() => gormsync.leader);
const pending = (page: Page) => page.evaluate(() => gormsync.pending);
const title = (page: Page, id: string) => page.evaluate((id) => gormsync.collection('todos').get(id)?.['title'], id);
const shows = (page: Page, id: string, want: unknown) => expect.poll(() => title(page, id)).toBe(want);
const insert = (page: Page, row: Row) => page.evaluate((row) => gormsync.collection('todos').insert(row).persisted, row);
const hurry = (page: Page) => page.evaluate(() => void dispatchEvent(new Event('online')));

test('two tabs share one connection and one list; each says who changed what', async () => {
  const [one, two] = [await tab(), await tab()];
  expect([await leads(one), await leads(two)]).toEqual([true, false]);
  expect(server.subscribes.length).toBe(1);
  for (const page of [one, two]) await page.evaluate(() => heard.splice(0));

  const settled = await two.evaluate(() => gormsync.collection('todos').insert({ id: 'n', title: 'by two' }).settled);
  expect(settled.status, 'the leader sent it, the other tab is told').toBe('applied');
  await shows(one, 'n', 'by two');
  server.put('a', { id: 'a', title: 'by the server' });
  await shows(two, 'a', 'by the server');
  expect(server.row('n')).toMatchObject({ title: 'by two' });
  const sources = (page: Page, id: string) => page.evaluate((id) => [...new Set(heard.filter(([, ids]) => ids.includes(id)).map(([source]) => source))], id);
  expect(await sources(two, 'n')).toEqual(['local', 'tab']);
  expect(await sources(one, 'a')).toEqual(['remote']);
  expect(await sources(two, 'a')).toEqual(['remote']);
});

test('two tabs edit offline: each edit reaches the server once', async () => {
  const [one, two] = [await tab(), await tab()];
  proxy.down();
  await insert(one, { id: 'x', title: 'one' });
  await two.evaluate(() => gormsync.collection('todos').update('x', { title: 'two' }).persisted);
  await insert(two, { id: 'y', title: 'two' });
  await expect.poll(() => pending(one)).toBe(3);
  await shows(one, 'x', 'two');
  proxy.mode = 'up';
  await hurry(one);
  for (const page of [one, two]) await expect.poll(() => pending(page)).toBe(0);
  expect([server.row('x'), server.row('y')]).toMatchObject([{ title: 'two' }, { title: 'two' }]);
  expect(server.applied).toHaveLength(3);
});

test('the leader closes in mid-push: the other tab takes over, sends it again, and it is done once', async () => {
  const [one, two] = [await tab(), await tab()];
  let answer = () => {};
  server.hold = new Promise<void>((done) => (answer = done));
  await insert(one, { id: 'n', title: 'new' });
  await expect.poll(() => server.applied.length).toBe(1);
  await one.close();
  answer();
  await expect.poll(() => leads(two)).toBe(true);
  await expect.poll(() => pending(two)).toBe(0);
  expect(server.applied).toHaveLength(1);
  expect(server.pushes.flat().map((change) => change.mutation_id)).toEqual(Array(2).fill(server.applied[0]));
  await shows(two, 'n', 'new');
  server.put('a', { id: 'a', title: 'still followed' });
  await shows(two, 'a', 'still followed');
  expect(server.snapshots, 'the new leader goes on from the cursor of the old one').toEqual(['todos']);
});

test('a half-open link: edits and changes wait, nothing is lost', async () => {
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(url);
  await live(page);
  proxy.mode = 'freeze';
  await insert(page, { id: 'n', title: 'into nowhere' });
  server.put('a', { id: 'a', title: 'unheard' });
  await hurry(page);
  await page.clock.runFor(6000); // the probe is not answered
  await page.waitForFunction(() => gormsync.status === 'reconnecting');
  proxy.down();
  proxy.mode = 'up';
  await page.clock.runFor(31_000);
  await live(page);
  await page.clock.runFor(31_000);
  await expect.poll(() => pending(page)).toBe(0);
  await shows(page, 'a', 'unheard');
  expect(server.row('n')).toMatchObject({ title: 'into nowhere' });
});

test('edits survive a crash of the whole browser', async () => {
  const before = await launchProfile();
  let after: Awaited<ReturnType<typeof launchProfile>> | undefined;
  try {
    const page = await tab(before.context);
    proxy.down();
    await insert(page, { id: 'n', title: 'before the crash' });
    await page.evaluate(() => gormsync.collection('todos').update('a', { title: 'mine' }).persisted);
    await before.kill();
    proxy.mode = 'up';
    after = await launchProfile(before.folder);
    const again = await tab(after.context);
    await expect.poll(() => pending(again)).toBe(0);
    expect([server.row('n'), server.row('a')]).toMatchObject([{ title: 'before the crash' }, { title: 'mine' }]);
    expect(server.applied).toHaveLength(2);
  } finally {
    await before.kill();
    await after?.context.close();
    before.remove();
  }
});

test('a page from the back/forward cache follows again; while it is away another tab leads', async () => {
  const page = await tab();
  await page.evaluate('window.same = true');
  await page.goto(`${url}/blank`);
  await expect.poll(() => server.sockets).toBe(0);
  server.put('a', { id: 'a', title: 'while away' });
  await page.evaluate(() => history.back());
  await page.waitForFunction(() => 'gormsync' in window);
  expect(await page.evaluate('window.same'), 'the page came out of the cache, it was not loaded anew').toBe(true);
  await live(page);
  await shows(page, 'a', 'while away');
  expect(await leads(page)).toBe(true);
});

/** A disk that is full as Chromium tells it: the request succeeds, then the transaction aborts. (Its own quota override is not enforced on IndexedDB.) */
function fullDisk(): void {
  const disk = (window as unknown as { disk: { full: number } }).disk = { full: Infinity };
  for (const name of ['add', 'put'] as const) {
    const real = IDBObjectStore.prototype[name];
    IDBObjectStore.prototype[name] = function (this: IDBObjectStore, value: unknown, ...key: []) {
      const request = real.call(this, value, ...key);
      if (JSON.stringify(value).length > disk.full) request.addEventListener('success', () => {
        Object.defineProperty(this.transaction, 'error', { value: new DOMException('full', 'QuotaExceededError') });
        this.transaction.abort();
      });
      return request;
    };
  }
}

const full = (page: Page, bytes: number) => page.evaluate((bytes) => { (window as unknown as { disk: { full: number } }).disk.full = bytes; }, bytes);

test('a full disk: an edit that cannot be stored is taken back and told', async () => {
  await context.addInitScript(fullDisk);
  const page = await tab();
  await page.evaluate('window.lost = []; gormsync.on("rejected", (e) => lost.push(e.error.code))');
  await full(page, 500);
  const error = await page.evaluate(() => gormsync.collection('todos').insert({ id: 'big', title: 'x'.repeat(500) }).persisted.then(() => '', String));
  expect(error).toContain('QuotaExceededError');
  expect(await page.evaluate('lost')).toEqual(['not_stored']);
  expect(await pending(page)).toBe(0);
  await shows(page, 'big', undefined);
  await insert(page, { id: 'n', title: 'fits' });
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.row('n')).toMatchObject({ title: 'fits' });
});

test('a disk too full for the rows: they are followed in memory, in every tab, and edits are still stored', async () => {
  await context.addInitScript(fullDisk);
  const page = await tab();
  await full(page, 500);
  server.put('a', { id: 'a', title: 'goes on', big: 'x'.repeat(500) });
  await shows(page, 'a', 'goes on');
  const second = await tab();
  await shows(second, 'a', 'goes on');
  server.put('c', { id: 'c', title: 'later' });
  await shows(second, 'c', 'later');
  proxy.down();
  await insert(page, { id: 'n', title: 'kept' });
  await page.close();
  proxy.mode = 'up';
  await live(second);
  await expect.poll(() => pending(second)).toBe(0);
  await shows(second, 'n', 'kept');
  await shows(second, 'a', 'goes on');
});

test('without IndexedDB it works in memory and says so', async () => {
  await context.addInitScript(() => Object.defineProperty(window, 'indexedDB', { get: () => { throw new DOMException('no', 'SecurityError'); } }));
  const page = await tab();
  expect(await page.evaluate(() => gormsync.persistent)).toBe(false);
  await insert(page, { id: 'n', title: 'in memory' });
  await expect.poll(() => pending(page)).toBe(0);
  expect(server.row('n')).toMatchObject({ title: 'in memory' });
});

test('without Web Locks every tab follows and sends; edits are done once', async () => {
  await context.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
  const [one, two] = [await tab(), await tab()];
  proxy.down();
  await insert(one, { id: 'x', title: 'one' });
  await insert(two, { id: 'y', title: 'two' });
  proxy.mode = 'up';
  for (const page of [one, two]) await hurry(page);
  for (const page of [one, two]) await expect.poll(() => pending(page)).toBe(0);
  expect(server.applied).toHaveLength(2);
  for (const page of [one, two]) for (const [id, want] of [['x', 'one'], ['y', 'two']] as const) await shows(page, id, want);
});
