// A proxy that stands before the server and has lost it, and pushes that fail for a while.
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const told: string[];

let browser: Browser;
let server: MockServer;
let url: string;
let page: Page;

const head = `<script src="/api/sync/client.js" data-entities="todos"></script><script>
  window.told = [];
  for (const name of ['sync:conflict', 'sync:rejected']) addEventListener(name, () => told.push(name));
  addEventListener('sync:status', (e) => told.push(e.detail.status));
</script>`;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  server = new MockServer();
  server.pages['/'] = [head, ''];
  url = await server.listen();
  server.put('a', { id: 'a', title: 'first' });
  page = await (await browser.newContext()).newPage();
  await page.context().addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
});
afterEach(async () => {
  await page.context().close();
  server.close();
});

const live = () => page.waitForFunction(() => gormsync.status === 'live');
const pending = () => page.evaluate(() => gormsync.pending);
const update = (title: string) => page.evaluate((title) => gormsync.collection('todos').update('a', { title }).settled, title);

test.each([
  ...[400, 403, 404, 405, 410, 421, 425, 451, 502].map((status): [string, number, string, string] => [`a page with ${status}`, status, 'text/html', '<h1>Error</h1>']),
  ['JSON of another program', 404, 'application/json', '{"message":"no Route matched with those values"}'],
  ['an error that is no code of ours', 404, 'application/json', '{"error":"Not Found","status":404}'],
  ['null', 403, 'application/json', 'null'],
  ['a good page that is no answer', 200, 'text/html', '<h1>Welcome</h1>'],
  ['good JSON that is no answer', 200, 'application/json', '{}'],
])('a push that is answered by a proxy is sent again: %s', async (_, status, type, text) => {
  await page.goto(url);
  await live();
  server.lostPushes = Array(2).fill([status, type, text]) as typeof server.lostPushes;
  expect((await update('mine')).status).toBe('applied');
  expect(server.lostPushes).toEqual([]);
  expect(server.applied).toHaveLength(1);
  expect(await page.evaluate(() => told)).toEqual(['connecting', 'live']);
});

test('a proxy that asks to sign in is believed, and one that finds a request too large', async () => {
  await page.goto(url);
  await live();
  server.lostPushes = [[401, 'text/html', '<h1>Sign in</h1>']];
  await page.evaluate(() => gormsync.collection('todos').update('a', { title: 'kept' }).persisted);
  await page.waitForFunction(() => gormsync.status === 'stopped');
  expect(await pending()).toBe(1);
  server.lostPushes = [[413, 'text/html', '<h1>Too large</h1>']];
  await page.evaluate(() => gormsync.start());
  await page.waitForFunction(() => told.includes('sync:rejected'));
  expect(await pending()).toBe(0);
});

test.each([404, 403, 503])('while it is deployed everything answers with a page and %d: it comes back by itself, with all edits', async (status) => {
  await page.goto(url);
  await live();
  server.lost = status;
  server.drop();
  const edit = update('made meanwhile');
  await page.waitForFunction(() => gormsync.status === 'reconnecting');
  await page.waitForTimeout(3000); // the WebSocket, the stream and pushes were tried
  expect(await pending()).toBe(1);
  server.lost = 0;
  expect((await edit).status).toBe('applied');
  await live();
  expect(await page.evaluate(() => told)).toEqual(['connecting', 'live', 'reconnecting', 'live']);
});

test('a page that is opened while it is deployed goes live when the server is there', async () => {
  server.lost = 404;
  await page.goto(url);
  await page.waitForFunction(() => gormsync.status === 'connecting');
  await page.waitForTimeout(1000);
  server.lost = 0;
  await live();
  expect(await page.evaluate(() => gormsync.collection('todos').all())).toEqual([{ id: 'a', title: 'first' }]);
});

test('edits amid failing pushes do not hurry them, and go when the pause is over', async () => {
  await page.addInitScript(() => (Math.random = () => 0.9));
  await page.goto(url);
  await live();
  server.failPush = [503, 503];
  await page.evaluate(async () => {
    for (let i = 0; i < 40; i++) {
      void gormsync.collection('todos').insert({ id: `n${i}`, title: 'x' });
      await new Promise((done) => setTimeout(done, 25));
    }
  });
  expect(server.pushes.length, 'one edit more is no reason to try again').toBeLessThanOrEqual(3);
  await expect.poll(pending).toBe(0);
  expect(server.applied).toHaveLength(40);
  expect(await page.evaluate(() => gormsync.status)).toBe('live');
});

test('an edit that is made as another one is answered is sent too', async () => {
  await page.addInitScript(() => Object.defineProperty(window, 'indexedDB', { get: () => undefined })); // where an edit takes no time to store
  await page.goto(url);
  await live();
  await page.evaluate(async () => {
    for (let i = 0; i < 60; i++) {
      await gormsync.collection('todos').insert({ id: `n${i}`, title: 'x' }).settled;
      for (let turns = 0; turns < i; turns++) await null;
    }
  });
  await expect.poll(pending).toBe(0);
  expect(server.applied).toHaveLength(60);
});
