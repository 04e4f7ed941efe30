// Edits of this device: made offline, kept, sent, refused.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import type { Outcome } from '../../src/outbox';
import type { Row } from '../../src/wire';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const told: [string, Outcome][];

let browser: Browser;
let server: MockServer;
let url: string;
let context: BrowserContext;
let page: Page;

const head = `<script src="/api/sync/client.js" data-entities="todos"></script><script>
  window.told = [];
  for (const name of ['sync:conflict', 'sync:rejected']) addEventListener(name, (e) => told.push([name, e.detail]));
</script>`;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

beforeEach(async () => {
  server = new MockServer();
  server.pages['/'] = [head, ''];
  url = await server.listen();
  server.put('a', { id: 'a', title: 'first', done: false });
  server.put('b', { id: 'b', title: 'second', done: false });
  context = await browser.newContext();
  await context.addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
  page = await tab();
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

const rows = (of = page) => of.evaluate(() => Object.fromEntries(gormsync.collection('todos').all().map((row) => [row['id'], row])) as Record<string, Row>);
const pending = (of = page) => of.evaluate(() => gormsync.pending);
const drained = (of = page) => expect.poll(() => pending(of)).toBe(0);
const insert = (row: Row, of = page) => of.evaluate((row) => gormsync.collection('todos').insert(row).persisted, row);
const update = (id: string, fields: Row, of = page) => of.evaluate(([id, fields]) => gormsync.collection('todos').update(id, fields).persisted, [id, fields] as const);
const remove = (id: string, of = page) => of.evaluate((id) => gormsync.collection('todos').delete(id).persisted, id);

async function goDown(): Promise<void> {
  server.down = true;
  server.drop();
  await page.waitForFunction(() => gormsync.status === 'reconnecting');
}

function comeBack(): Promise<void> {
  server.down = false;
  return page.evaluate(() => void dispatchEvent(new Event('online'))); // so that the test need not wait for the backoff
}

test('an edit is seen at once, reaches the server, and takes what the server made of it', async () => {
  const outcome = await page.evaluate(async () => {
    const todos = gormsync.collection('todos');
    const mutation = todos.update('a', { title: 'mine' });
    const seen = todos.get('a');
    return { seen, settled: await mutation.settled, after: todos.get('a') };
  });
  expect(outcome.seen).toEqual({ id: 'a', title: 'mine', done: false });
  expect(outcome.settled).toMatchObject({ entity: 'todos', id: 'a', status: 'applied', mine: { title: 'mine' } });
  expect(outcome.after).toEqual({ id: 'a', title: 'mine', done: false, touched: true });
  expect(server.pushes).toMatchObject([[{ entity: 'todos', id: 'a', action: 'update', data: { title: 'mine' }, client_version: 1 }]]);
  expect(server.row('a')).toMatchObject({ title: 'mine' });
});

test('edits made offline survive a reload and reach the server once, in their order', async () => {
  await goDown();
  await insert({ id: 'n', title: 'new', done: false });
  await update('n', { done: true });
  await update('a', { title: 'renamed' });
  await remove('b');
  const want = { a: { id: 'a', title: 'renamed', done: false }, n: { id: 'n', title: 'new', done: true } };
  expect(await rows()).toEqual(want);
  await page.reload();
  await page.evaluate(() => gormsync.ready);
  expect(await rows()).toEqual(want);
  expect(await pending()).toBe(4);
  await comeBack();
  await drained();
  expect(server.row('n')).toMatchObject({ title: 'new', done: true });
  expect(server.row('a')).toMatchObject({ title: 'renamed' });
  expect(server.row('b')).toBeNull();
  expect(server.applied).toHaveLength(4);
  expect(new Set(server.applied).size).toBe(4);
  expect(await page.evaluate(() => told)).toEqual([]);
});

test('an answer that is lost: the edit is sent again and done once', async () => {
  server.failPush = [0, 503];
  await insert({ id: 'n', title: 'new' });
  await drained();
  expect(server.pushes.length).toBe(3);
  expect(new Set(server.pushes.flat().map((change) => change.mutation_id)).size).toBe(1);
  expect(server.applied).toHaveLength(1);
  expect((await rows())['n']).toMatchObject({ title: 'new', touched: true });
});

test('a conflict takes the edits of its row back and tells both values; the other rows go on', async () => {
  await goDown();
  await update('a', { title: 'mine' });
  await update('a', { done: true });
  await update('b', { done: true });
  server.put('a', { id: 'a', title: 'theirs', done: false });
  await comeBack();
  await drained();
  const theirs = { id: 'a', title: 'theirs', done: false };
  expect(await rows()).toMatchObject({ a: theirs, b: { done: true } });
  expect(await page.evaluate(() => told)).toMatchObject([
    ['sync:conflict', { entity: 'todos', id: 'a', action: 'update', status: 'conflict', mine: { title: 'mine' }, theirs }],
    ['sync:conflict', { id: 'a', mine: { done: true }, theirs }],
  ]);
  const again = await page.evaluate(() => gormsync.collection('todos').update('a', { title: 'mine' }).settled);
  expect(again.status, 'keeping mine is another edit, based on theirs').toBe('applied');
});

test('a rejected edit is taken back and told, and does not stop the others', async () => {
  await update('a', { title: 'forbidden' });
  await insert({ id: 'n', title: 'forbidden' });
  await update('b', { title: 'fine' });
  await drained();
  expect(await rows()).toMatchObject({ a: { title: 'first' }, b: { title: 'fine' } });
  expect((await rows())['n']).toBeUndefined();
  expect(await page.evaluate(() => told)).toMatchObject([
    ['sync:rejected', { id: 'a', error: { code: 'invalid', message: 'This title is not allowed.' }, mine: { title: 'forbidden' }, theirs: { title: 'first' } }],
    ['sync:rejected', { id: 'n', action: 'create', theirs: null }],
  ]);
});

test('a request that is refused as a whole does not block the queue', async () => {
  await goDown();
  for (const id of ['k', 'l', 'm']) await insert({ id, title: id });
  server.failPush = [413, 413];
  await comeBack();
  await drained();
  // However the edits were put together: what was refused in company goes again in smaller requests.
  expect(server.pushes.length).toBeGreaterThanOrEqual(3);
  expect(await page.evaluate(() => told.map(([name, { id, error }]) => [name, id, error?.code]))).toEqual([['sync:rejected', 'k', 'refused']]);
  expect(server.row('l')).toMatchObject({ title: 'l' });
  expect(server.row('m')).toMatchObject({ title: 'm' });
});

test('a user who is not known any more is told to sign in; the edits wait', async () => {
  server.failPush = [401];
  await insert({ id: 'n', title: 'new' });
  await page.waitForFunction(() => gormsync.status === 'stopped');
  expect(await pending()).toBe(1);
  await page.evaluate(() => gormsync.start());
  await drained();
  expect(server.row('n')).toMatchObject({ title: 'new' });
});

test('a key that the database makes takes the place of the one the row began with', async () => {
  await goDown();
  const id = await page.evaluate(() => gormsync.collection('todos').insert({ title: 'numbered', numbered: true }).id);
  await update(id, { done: true });
  expect((await rows())[id]).toMatchObject({ id, title: 'numbered', done: true });
  await comeBack();
  await drained();
  const all = await rows();
  expect(all[id]).toBeUndefined();
  expect(Object.values(all).find((row) => row['title'] === 'numbered')).toMatchObject({ id: '3', done: true });
});

test('an expired cursor with edits on their way: the rows are taken anew, the edits are kept', async () => {
  await goDown();
  await update('a', { done: true });
  await insert({ id: 'n', title: 'new' });
  server.restore({ a: { id: 'a', title: 'from the backup', done: false } });
  await comeBack();
  await drained();
  expect(await rows()).toMatchObject({ a: { title: 'from the backup', done: true }, n: { title: 'new' } });
  await expect.poll(async () => (await rows())['b']).toBeUndefined();
});

test('signing out forgets rows and edits; another user sees nothing of the first one', async () => {
  const pushes = /\/api\/sync\?/;
  await page.route(pushes, (route) => (route.request().method() === 'POST' ? route.abort() : route.fallback())); // its edits do not get through
  await insert({ id: 'secret', title: 'mine' });
  server.pages['/other'] = [head.replace('data-entities', 'data-user="bob" data-entities'), ''];
  const other = await context.newPage();
  await other.goto(`${url}/other`);
  await other.waitForFunction(() => gormsync.status === 'live');
  expect(await pending(other)).toBe(0);
  expect(Object.keys(await rows(other)).sort()).toEqual(['a', 'b']);
  await other.close();

  const second = await context.newPage();
  await second.goto(url);
  await second.evaluate(() => gormsync.ready);
  expect(await pending(second)).toBe(1);
  expect([await page.evaluate(() => gormsync.leader), await second.evaluate(() => gormsync.leader)]).toEqual([true, false]);
  await second.evaluate(() => gormsync.clear());
  await expect.poll(() => rows()).toEqual({});
  expect(await page.evaluate(() => gormsync.status)).toBe('stopped');
  await page.unroute(pushes);
  await page.reload();
  await page.waitForFunction(() => gormsync.status === 'live');
  expect(Object.keys(await rows()).sort()).toEqual(['a', 'b']);
  expect(server.pushes.flat().filter((change) => change.id === 'secret')).toEqual([]);
});

test('a plain form works offline: new rows, updates, deletions', async () => {
  const forms = `
    <form id="add" data-sync-form="todos"><input name="title"><input type="checkbox" name="done"><input type="number" step="any" name="rank"><input type="number" name="weight"><select name="kind"><option>home</option><option selected>work</option></select>
      <input type="radio" name="size" value="s"><input type="radio" name="size" value="l" checked><input name="off" disabled><button name="b" value="x">Add</button></form>
    <form id="edit" data-sync-form="todos"><input type="hidden" name="id" value="a"><input name="title" value="edited"><button>Save</button></form>
    <form id="drop" data-sync-form="todos" data-sync-id="b" data-sync-action="delete"><button>Delete</button></form>`;
  server.pages['/'] = [head, forms];
  await page.reload();
  await page.waitForFunction(() => gormsync.status === 'live');
  await goDown();
  await page.fill('#add [name=title]', 'from the form');
  await page.check('#add [name=done]');
  await page.fill('#add [name=rank]', '2.5');
  for (const button of ['Add', 'Save', 'Delete']) await page.getByRole('button', { name: button }).click();
  expect(await page.inputValue('#add [name=title]'), 'the form is ready for the next one').toBe('');
  const all = Object.values(await rows());
  expect(all).toContainEqual({ id: expect.any(String) as string, title: 'from the form', done: true, rank: 2.5, weight: null, kind: 'work', size: 'l' });
  expect(all).toContainEqual({ id: 'a', title: 'edited', done: false });
  expect(all).toHaveLength(2);
  await comeBack();
  await drained();
  expect(server.row('a')).toMatchObject({ title: 'edited' });
  expect(server.row('b')).toBeNull();
});
