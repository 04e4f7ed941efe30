// Random edits in two tabs, of other people too, over a network and a server that
// fail at random. Whatever happens: every edit gets one answer, is done at most
// once, and in the end both tabs show what the server has.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import type { Outcome } from '../../src/outbox';
import type { Row } from '../../src/wire';
import { dice } from '../unit/dice';
import { launch } from './chromium';
import { MockServer } from './mock';
import { Proxy } from './proxy';

declare const gormsync: Client;
declare const settled: Outcome[];

const seeds = (process.env['SEEDS'] ?? '1,2').split(',').map(Number);
const steps = 120;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const head = `<script src="/api/sync/client.js" data-entities="todos"></script><script>window.settled = []</script>`;
const rows = (page: Page) => page.evaluate(() => Object.fromEntries(gormsync.collection('todos').all().map((row) => [row['id'], row['title']])));

function edit(page: Page, kind: 'insert' | 'update' | 'delete', id: string, title: string): Promise<string> {
  return page.evaluate(async ([kind, id, title]) => {
    const todos = gormsync.collection('todos');
    const made = kind === 'insert' ? todos.insert({ id, title }) : kind === 'update' ? todos.update(id, { title }) : todos.delete(id);
    void made.settled.then((outcome) => settled.push(outcome));
    await made.persisted;
    return made.mutation_id;
  }, [kind, id, title] as const);
}

test.each(seeds)('seed %i', async (seed) => {
  const random = dice(seed);
  const pick = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)] as T;
  const server = new MockServer();
  server.pages['/'] = [head, ''];
  const proxy = new Proxy();
  const url = await proxy.listen(Number(new URL(await server.listen()).port));
  const context = await browser.newContext();
  await context.addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
  const open = async () => {
    const page = await context.newPage();
    await page.goto(url);
    await page.evaluate(() => gormsync.ready);
    return page;
  };
  const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
  const made: string[] = [];
  const answers: Outcome[] = [];
  const tabs = [await open(), await open()];
  for (let i = 0; i < steps; i++) {
    const at = pick([0, 1]);
    const tab = tabs[at] as Page;
    const id = pick(ids);
    const act = random();
    if (act < 0.55) made.push(await edit(tab, pick(['insert', 'update', 'update', 'delete']), id, pick([`t${i}`, `t${i}`, `t${i}`, 'forbidden'])));
    else if (act < 0.7) server.put(id, random() < 0.3 ? null : { id, title: `s${i}` });
    else if (act < 0.78) server.failPush.push(pick([0, 503, 500]));
    else if (act < 0.84) proxy.down();
    else if (act < 0.9) server.drop(pick([1012, 1006].slice(0, 1)));
    else if (act < 0.95) proxy.mode = 'up';
    else if (proxy.mode === 'up') { // a tab dies and another one takes its place
      answers.push(...(await tab.evaluate(() => settled)));
      await tab.close();
      tabs[at] = await open();
    }
  }
  proxy.mode = 'up';
  server.failPush = [];
  for (const page of tabs) await page.evaluate(() => void dispatchEvent(new Event('online')));
  for (const page of tabs) await expect.poll(() => page.evaluate(() => [gormsync.status, gormsync.pending]), { timeout: 20_000 }).toEqual(['live', 0]);
  const want = Object.fromEntries(ids.flatMap((id) => (server.row(id) ? [[id, (server.row(id) as Row)['title']]] : [])));
  for (const page of tabs) await expect.poll(() => rows(page)).toEqual(want);
  for (const page of tabs) answers.push(...(await page.evaluate(() => settled)));

  expect(made.length).toBeGreaterThan(40);
  expect(new Set(server.applied).size, 'nothing is done twice').toBe(server.applied.length);
  expect(made, 'nothing is done that nobody asked for').toEqual(expect.arrayContaining(server.applied));
  expect(new Set(answers.map((outcome) => outcome.mutation_id)).size, 'every edit gets one answer').toBe(answers.length);
  for (const { mutation_id, status } of answers) expect(server.applied.includes(mutation_id), `${mutation_id} was told to be ${status}`).toBe(status === 'applied');
  await context.close();
  proxy.close();
  server.close();
});
