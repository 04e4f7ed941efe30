// Edits of one row, one quickly after the other: each is based on the answer to the one before.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const told: string[];

let browser: Browser;
let server: MockServer;
let url: string;
let context: BrowserContext;

const tag = '<script src="/api/sync/client.js" data-entities="todos"></script>';

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  server = new MockServer();
  url = await server.listen();
  server.put('a', { id: 'a', title: 'first' });
  context = await browser.newContext();
  await context.addInitScript(() => {
    Math.random = () => 0.05; // pauses before a next try are short
    Object.assign(window, { told: [] });
    for (const name of ['sync:conflict', 'sync:rejected']) addEventListener(name, (e) => told.push(`${name} ${JSON.stringify((e as CustomEvent).detail)}`));
  });
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

/** type makes edits as somebody who types does, and waits for the answers. */
const type = (page: Page, count: number, gap: number) =>
  page.evaluate(async ([count, gap]) => {
    const answers = [];
    for (let i = 1; i <= count; i++) {
      answers.push(gormsync.collection('todos').update('a', { title: `typed ${i}` }).settled);
      await new Promise((done) => setTimeout(done, gap));
    }
    return (await Promise.all(answers)).map(({ status }) => status);
  }, [count, gap] as const);

/** Every edit was sent once, in its order, and based on the answer to the one before. */
function expectChain(count: number, name = 'typed'): void {
  const pushes = server.pushes.flat();
  expect(pushes.map(({ data }) => data?.['title'])).toEqual(Array.from({ length: count }, (_, i) => `${name} ${i + 1}`));
  const based = pushes.filter(({ action }) => action === 'update').map(({ client_version }) => client_version);
  expect(based.every((version) => version !== undefined), `bases ${based}`).toBe(true);
  expect(new Set(based).size).toBe(based.length);
}

test.each([5, 20])('typed %i ms apart: all are applied', async (gap) => {
  const page = await tab();
  expect(new Set(await type(page, 30, gap))).toEqual(new Set(['applied']));
  expectChain(30);
  expect(await page.evaluate(() => gormsync.pending)).toBe(0);
});

test.each([5, 20])('typed %i ms apart in a tab that another one sends for', async (gap) => {
  const [leader, page] = [await tab(), await tab()];
  expect(new Set(await type(page, 30, gap))).toEqual(new Set(['applied']));
  expectChain(30);
  for (const one of [leader, page]) await expect.poll(() => one.evaluate(() => gormsync.pending)).toBe(0);
});

test('typed where there is no room for rows', async () => {
  const page = await tab();
  await page.evaluate(() => {
    const { add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = function (...args) {
      if (this.name === 'rows') throw new DOMException('full', 'QuotaExceededError');
      return add.apply(this, args);
    };
  });
  server.put('b', { id: 'b', title: 'too much' });
  await expect.poll(() => page.evaluate(() => gormsync.collection('todos').get('b')?.['title'])).toBe('too much');
  expect(new Set(await type(page, 30, 15))).toEqual(new Set(['applied']));
  expectChain(30);
  expect(await page.evaluate(() => gormsync.persistent)).toBe(true);
});

const edits = (id: string, first: string) => `<script>
  const todos = gormsync.collection('todos');
  ${first}
  todos.update('${id}', { title: 'early 2' });
  todos.update('${id}', { title: 'early 3' });
</script>`;

test.each([
  ['a', `todos.update('a', { title: 'early 1' });`],
  ['new', `todos.insert({ id: 'new', title: 'early 1' });`],
])('edits of %s before the client has started stay in their order', async (id, first) => {
  const page = await tab();
  server.pages['/'] = [tag + edits(id, first), ''];
  await page.reload();
  await expect.poll(() => server.row(id)?.['title']).toBe('early 3');
  await expect.poll(() => page.evaluate(() => gormsync.pending)).toBe(0);
  expectChain(3, 'early');
  expect(await page.evaluate(() => told)).toEqual([]);
});

test('edits before and after start() stay in their order, also with rows that are stored', async () => {
  const page = await tab();
  await page.evaluate(() => gormsync.stop());
  server.pages['/'] = [tag + edits('a', `todos.update('a', { title: 'early 1' }); gormsync.start();`), ''];
  await page.reload();
  await expect.poll(() => server.row('a')?.['title']).toBe('early 3');
  await expect.poll(() => page.evaluate(() => gormsync.pending)).toBe(0);
  expectChain(3, 'early');
  expect(await page.evaluate(() => told)).toEqual([]);
});
