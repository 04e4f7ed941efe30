// The example moves from SQLite to PostgreSQL while a window goes on without it.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch } from './chromium';
import { Program } from './program';

const repository = fileURLToPath(new URL('../../../', import.meta.url));
const go = process.env['GO'] || 'go';
const program = new Program();
const elsewhere = new Program(); // at another address, so that no window finds it
const execute = promisify(execFile);
let browser: Browser;
let server: ChildProcess;
let postgres = '';

/** Starts a throw-away PostgreSQL and gives its URL. */
async function startPostgres(): Promise<string> {
  await execute(go, ['build', '-o', join(program.folder, 'serve'), './internal/dbtest/serve'], { cwd: repository });
  server = spawn(join(program.folder, 'serve'), { stdio: ['pipe', 'pipe', 'inherit'] });
  const [url] = (await once(createInterface(server.stdout!), 'line')) as [string];
  return url;
}

beforeAll(async () => {
  [browser, postgres] = await Promise.all([
    launch(), startPostgres(), program.build(), elsewhere.build(),
    execute(go, ['build', '-o', join(program.folder, 'gormsync'), '.'], { cwd: join(repository, 'cmd/gormsync') }),
  ]);
  await program.start();
});
afterAll(async () => {
  await browser?.close();
  await program.stop();
  if (server) {
    server.stdin!.end();
    await once(server, 'exit');
  }
  for (const p of [program, elsewhere]) p.remove();
});

test('a window that goes on offline while the database moves loses nothing', async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => (Math.random = () => 0.1)); // pauses before a next try are short
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const says = (text: string) => page.locator('#link', { hasText: text }).waitFor();
  const row = (title: string) => page.locator('.todo[data-id]').filter({ has: page.getByText(title, { exact: true }) });
  const add = async (title: string) => {
    await page.getByLabel('New to-do').fill(title);
    await page.getByRole('button', { name: 'Add' }).click();
    await row(title).waitFor();
  };
  await page.goto(program.url);
  await says('Live');
  for (const title of ['Before', 'Untouched']) await add(title);
  await page.getByText('waiting').waitFor({ state: 'hidden' });

  await program.stop();
  await says('Offline');
  await add('Meanwhile');
  await page.getByRole('checkbox', { name: 'Before', exact: true }).click();
  await page.getByText('2 waiting', { exact: true }).waitFor();

  await elsewhere.start(postgres); // makes its tables
  await elsewhere.stop();
  const { stdout } = await execute(join(program.folder, 'gormsync'), ['copy', '--from', program.database, '--to', postgres, '--json']);
  expect((JSON.parse(stdout) as { tables: { table: string; rows: number }[] }).tables[0]).toMatchObject({ table: 'todos', rows: 2 });

  await program.start(postgres);
  await says('Live');
  await page.getByText('waiting').waitFor({ state: 'hidden' });
  const todos = (await (await fetch(`${program.url}/todos.json`)).json()) as { title: string; done: boolean }[];
  expect(todos.map(({ title, done }) => [title, done]).sort()).toEqual([['Before', true], ['Meanwhile', false], ['Untouched', false]]);
  for (const title of ['Before', 'Meanwhile', 'Untouched']) await row(title).waitFor();

  await fetch(`${program.url}/todos`, { method: 'POST', body: new URLSearchParams({ title: 'After' }) });
  await row('After').waitFor(); // it follows the new database
});
