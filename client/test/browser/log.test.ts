// The rows in the browser's database: a log, which is written anew now and then.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import type { Held } from '../../src/outbox';
import type { Row } from '../../src/wire';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const rewrites: number;

let browser: Browser;
let server: MockServer;
let url: string;
let context: BrowserContext;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  server = new MockServer();
  url = await server.listen();
  context = await browser.newContext();
  await context.addInitScript(() => {
    Math.random = () => 0.05; // pauses before a next try are short
    Object.assign(window, { rewrites: 0 });
    const { clear } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.clear = function () {
      if (this.name === 'rows') Object.assign(window, { rewrites: rewrites + 1 });
      return clear.call(this);
    };
  });
});
afterEach(async () => {
  await context.close();
  server.close();
});

const live = (page: Page) => page.waitForFunction(() => gormsync.status === 'live');

async function tab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  await live(page);
  return page;
}

/** reload shows what is stored. */
async function reload(page: Page): Promise<void> {
  server.down = true;
  server.drop();
  await page.reload();
  await page.evaluate(() => gormsync.ready);
}

const titles = (page: Page) => page.evaluate(() => Object.fromEntries(gormsync.collection('todos').all().map((row) => [row['id'], row['title']])));
const title = (page: Page, id: string) => page.evaluate((id) => gormsync.collection('todos').get(id)?.['title'], id);

/** Every row in the log, as it is stored. */
const stored = (page: Page) =>
  page.evaluate(async () => {
    const [{ name } = {}] = await indexedDB.databases();
    return new Promise<Held[]>((done) => {
      const open = indexedDB.open(String(name));
      open.onsuccess = () => {
        const log = open.result.transaction('rows').objectStore('rows').getAll();
        log.onsuccess = () => (open.result.close(), done((log.result as Held[][]).flat()));
      };
    });
  });

const all = (count: number, row: (i: number) => Row | null): [string, Row | null][] => Array.from({ length: count }, (_, i) => [`r${i}`, row(i)]);

/** change changes the first rows that many times, a transaction each. */
async function change(page: Page, count: number, times: number, name: string): Promise<void> {
  for (let i = 1; i <= times; i++) {
    server.transaction(all(count, (row) => ({ id: `r${row}`, title: `${name} ${i}` })));
    await expect.poll(() => title(page, `r${count - 1}`), { interval: 5 }).toBe(`${name} ${i}`);
  }
}

test('it stays short however often rows change, and is not written anew for each page', async () => {
  const page = await tab();
  await change(page, 100, 40, 'first');
  expect((await stored(page)).length, 'no more than 100 and as many as there are stand in the way').toBeLessThanOrEqual(300);
  expect(await page.evaluate(() => rewrites)).toBeGreaterThan(1);
  expect(await page.evaluate(() => rewrites)).toBeLessThan(25);
  server.transaction(all(50, () => null));
  await change(page, 10, 160, 'second');
  const held = await stored(page);
  expect(new Set(held.map(({ id }) => id)).size, 'deleted rows take no room').toBe(60);
  await reload(page);
  expect(await titles(page)).toEqual({ ...Object.fromEntries(all(100, () => null).slice(50).map(([id]) => [id, 'first 40'])), ...Object.fromEntries(all(10, () => null).map(([id]) => [id, 'second 160'])) });
});

test('what the answers to edits bring counts too', async () => {
  const page = await tab();
  server.transaction(all(100, (row) => ({ id: `r${row}`, title: 'first' })));
  await expect.poll(() => title(page, 'r99')).toBe('first');
  for (let i = 1; i <= 6; i++)
    await page.evaluate((i) => Promise.all(gormsync.collection('todos').all().map(({ id }) => gormsync.collection('todos').update(String(id), { title: `mine ${i}` }).settled)), i);
  server.put('r0', { id: 'r0', title: 'last' });
  await expect.poll(() => title(page, 'r0')).toBe('last');
  expect((await stored(page)).length).toBeLessThanOrEqual(300);
});

test('a tab that begins with a long log writes it anew', async () => {
  let page = await tab();
  await change(page, 100, 9, 'first');
  for (let i = 0; i < 4; i++) {
    await page.close();
    page = await tab();
    await change(page, 100, 5, `tab ${i}`);
  }
  expect((await stored(page)).length).toBeLessThanOrEqual(300);
  await reload(page);
  expect(await title(page, 'r42')).toBe('tab 3 5');
});

test('an answer that comes late does not bring a row back that somebody else has deleted', async () => {
  const page = await tab();
  server.failPush = [0, ...Array<number>(200).fill(503)];
  await page.evaluate(() => gormsync.collection('todos').insert({ id: 'mine', title: 'new' }).persisted);
  await expect.poll(() => server.row('mine')).not.toBeNull();
  server.put('mine', null);
  await change(page, 100, 30, 'other'); // the log is written anew, and the row is long gone
  expect(await page.evaluate(() => rewrites)).toBeGreaterThan(0);
  await reload(page);
  server.down = false;
  server.failPush = [];
  await live(page);
  await expect.poll(() => page.evaluate(() => gormsync.pending)).toBe(0);
  expect(server.applied, 'it was answered with what was done before').toHaveLength(1);
  expect(await title(page, 'mine')).toBeUndefined();
  await reload(page);
  expect(await title(page, 'mine')).toBeUndefined();
});

test('tabs without a leader write one log', async () => {
  await context.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
  const [one, two] = [await tab(), await tab()];
  await change(one, 100, 25, 'first');
  server.put('r0', null);
  for (const page of [one, two]) await expect.poll(() => titles(page)).toEqual(Object.fromEntries(all(100, () => null).slice(1).map(([id]) => [id, 'first 25'])));
  expect((await stored(one)).length).toBeLessThanOrEqual(1000);
  await one.close();
  await reload(two);
  expect(await titles(two)).toEqual(Object.fromEntries(all(100, () => null).slice(1).map(([id]) => [id, 'first 25'])));
});

test('an edit of a row that this tab has not heard of is based on what is stored', async () => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  const known = server.put('b', { id: 'b', title: 'by others' });
  const other = await tab(); // leads, and stores it
  await expect.poll(() => title(other, 'b')).toBe('by others');
  expect(await title(page, 'b')).toBeUndefined();
  await page.evaluate(() => gormsync.collection('todos').update('b', { title: 'mine' }).persisted);
  await page.evaluate(() => gormsync.start());
  await other.close(); // so that this one sends it
  await expect.poll(() => server.row('b')).toMatchObject({ title: 'mine' });
  expect(server.pushes.flat().at(-1)).toMatchObject({ id: 'b', client_version: known.version });
});
