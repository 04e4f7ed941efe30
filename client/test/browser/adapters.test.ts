// The adapters of examples/adapters against the real packages.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const client: Client;

interface Todo {
  id: string;
  title: string;
}
/** What the pages below make of each library: one way to use them all. */
declare const app: {
  titles(): Promise<string[]>;
  add(todo: Todo): Promise<unknown>;
  update(id: string, title: string): Promise<unknown>;
  remove(id: string): Promise<unknown>;
};

const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const start = `
  import { createClient } from 'gormsync-client';
  const client = (window.client = createClient({ base: location.origin + '/api', entities: ['todos'] }));
  client.start();`;

const pages = {
  tanstack: `${start}
    import { createCollection } from '@tanstack/db';
    import { gormsyncOptions } from '${root('../examples/adapters/tanstack')}';
    const todos = createCollection(gormsyncOptions(client, 'todos', (todo) => todo.id));
    const edit = (transaction) => transaction.isPersisted.promise;
    window.app = {
      titles: async () => (await todos.toArrayWhenReady()).map((todo) => todo.title).sort(),
      add: (todo) => edit(todos.insert(todo)),
      update: (id, title) => edit(todos.update(id, (draft) => { draft.title = title; })),
      remove: (id) => edit(todos.delete(id)),
    };`,
  dexie: `${start}
    import Dexie from 'dexie';
    import { mirror } from '${root('../examples/adapters/dexie')}';
    const db = new Dexie('app');
    db.version(1).stores({ todos: 'id, title' });
    const todos = mirror(client, 'todos', db.table('todos'), (todo) => todo.id);
    window.app = {
      titles: async () => (await todos.settled(), (await db.table('todos').orderBy('title').toArray()).map((todo) => todo.title)),
      add: (todo) => todos.add(todo).persisted,
      update: (id, title) => todos.update(id, { title }).persisted,
      remove: (id) => todos.delete(id).persisted,
    };`,
};

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
  await page.addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
});
afterEach(async () => {
  await page.context().close();
  server.close();
});

test.each(Object.entries(pages))('%s: live rows, edits offline and back, a refusal', async (_, contents) => {
  const { outputFiles } = await build({ stdin: { contents, resolveDir: root('.') }, bundle: true, write: false, format: 'iife', nodePaths: [root('node_modules')], alias: { 'gormsync-client': root('dist/index.mjs') } });
  server.files['/app.js'] = ['text/javascript', outputFiles[0]?.text ?? ''];
  server.pages['/'] = ['', '<script src="/app.js"></script>'];
  await page.goto(url);
  await page.waitForFunction(() => client.status === 'live');
  const shows = (...want: string[]) => expect.poll(() => page.evaluate(() => app.titles())).toEqual(want);
  await shows('first', 'second');
  server.put('c', { id: 'c', title: 'third' });
  server.put('b', null);
  await shows('first', 'third');

  server.down = true;
  server.drop();
  await page.evaluate(() => app.add({ id: 'n', title: 'new' }));
  await page.evaluate(() => app.update('a', 'renamed'));
  await page.evaluate(() => app.remove('c'));
  await shows('new', 'renamed');
  await page.reload();
  await shows('new', 'renamed');
  server.down = false;
  await page.evaluate(() => void dispatchEvent(new Event('online')));
  await expect.poll(() => page.evaluate(() => client.pending)).toBe(0);
  expect(server.row('a')).toMatchObject({ title: 'renamed' });
  expect(server.row('c')).toBeNull();
  expect(server.applied).toHaveLength(3);

  await page.evaluate(() => app.update('a', 'forbidden'));
  await expect.poll(() => page.evaluate(() => client.pending)).toBe(0);
  await shows('new', 'renamed');
});

test('each adapter is about 60 lines at most', () => {
  for (const name of Object.keys(pages)) expect(readFileSync(root(`../examples/adapters/${name}.ts`), 'utf8').split('\n').length, name).toBeLessThan(65);
});
