// The example program in two windows, as its welcome text invites to try it.
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { launch } from './chromium';
import { Program } from './program';
import { noUpgrades } from './proxy';
import { picture, portrait } from './screenshot';

const program = new Program();
let browser: Browser;
let open: Page[] = [];

beforeAll(async () => {
  [browser] = await Promise.all([launch(), program.build()]);
  await program.start();
});
afterAll(async () => {
  await browser?.close();
  await program.stop();
  program.remove();
});
afterEach(async () => {
  await Promise.all(open.map((page) => page.context().close()));
  open = [];
  if (!program.running) await program.start();
  const todos = (await (await fetch(`${program.url}/todos.json`)).json()) as { id: string }[];
  for (const { id } of todos) await post(`/todos/${id}/delete`);
});

/** A window of its own browser profile, that follows. */
async function openWindow(options: BrowserContextOptions = {}, url = program.url): Promise<Page> {
  const context = await browser.newContext(options);
  await context.addInitScript(() => (Math.random = () => 0.1)); // pauses before a next try are short
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  open.push(page);
  await page.goto(url);
  await says(page, 'Live');
  return page;
}

const says = (page: Page, text: string) => page.locator('#link', { hasText: text }).waitFor();
const row = (page: Page, title: string) => page.locator('.todo[data-id]').filter({ has: page.getByText(title, { exact: true }) });
const check = (page: Page, title: string) => page.getByRole('checkbox', { name: title, exact: true });

async function add(page: Page, title: string): Promise<void> {
  await page.getByLabel('New to-do').fill(title);
  await page.getByRole('button', { name: 'Add' }).click();
}

async function rename(page: Page, from: string, to: string): Promise<void> {
  await row(page, from).locator('summary').click();
  const field = row(page, from).getByLabel('Title');
  await field.fill(to);
  await field.press('Enter');
  await row(page, to).waitFor();
}

async function signIn(page: Page, name: string): Promise<void> {
  await page.getByLabel('You are').fill(name);
  await page.getByRole('button', { name: 'Change' }).click();
  await says(page, 'Live');
  expect(await page.getByLabel('You are').inputValue()).toBe(name);
}

function post(path: string, fields: Record<string, string> = {}, accept = 'application/json'): Promise<Response> {
  return fetch(program.url + path, { method: 'POST', body: new URLSearchParams(fields), headers: { accept }, redirect: 'manual' });
}

test('what one window adds, ticks and deletes, the other one shows', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await right.getByText('Nothing to do', { exact: true }).waitFor();
  await add(left, '  Buy milk ');
  await row(right, 'Buy milk').waitFor();
  await right.getByText('0 of 1 done').waitFor();

  await check(left, 'Buy milk').click();
  await right.getByText('1 of 1 done').waitFor();
  expect(await check(right, 'Buy milk').isChecked()).toBe(true);
  await check(right, 'Buy milk').click();
  await left.getByText('0 of 1 done').waitFor();

  await row(right, 'Buy milk').hover();
  await right.getByRole('button', { name: 'Delete: Buy milk' }).click();
  await row(left, 'Buy milk').waitFor({ state: 'detached' });
  await left.getByText('No to-dos').waitFor();
});

test('rows glow when somebody else changed them, and only then', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await add(left, 'Glow');
  await right.locator('.todo.changed', { hasText: 'Glow' }).waitFor();
  await row(left, 'Glow').waitFor();
  expect(await left.locator('.changed').count()).toBe(0);
  await check(right, 'Glow').click();
  await left.locator('.todo.changed', { hasText: 'Glow' }).waitFor();
});

test('the server goes away: the list goes on, survives a reload, and is brought there when it comes back', async () => {
  const page = await openWindow();
  await add(page, 'Before');
  await row(page, 'Before').waitFor();
  await page.getByText('waiting').waitFor({ state: 'hidden' }); // the server has it
  await page.evaluate('navigator.serviceWorker.ready');
  expect(await program.stop()).toBe(0);
  await says(page, 'Offline');
  await add(page, 'Meanwhile');
  await check(page, 'Before').click();
  await page.getByText('2 waiting', { exact: true }).waitFor();

  await page.reload();
  await row(page, 'Meanwhile').waitFor();
  await page.getByText('1 of 2 done').waitFor();
  await page.getByText('2 waiting', { exact: true }).waitFor();

  await program.start();
  await post('/todos', { title: 'After' });
  await row(page, 'After').waitFor();
  await says(page, 'Live');
  await page.getByText('waiting').waitFor({ state: 'hidden' });
  const todos = (await (await fetch(`${program.url}/todos.json`)).json()) as { title: string; done: boolean }[];
  expect(todos.map(({ title, done }) => [title, done]).sort()).toEqual([['After', false], ['Before', true], ['Meanwhile', false]]);
});

test('two people rename the same to-do offline: who comes second is shown both titles and chooses', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await add(left, 'Buy milk');
  for (const page of [left, right]) await row(page, 'Buy milk').waitFor();
  await program.stop('SIGKILL');
  for (const page of [left, right]) await says(page, 'Offline');
  await rename(left, 'Buy milk', 'Buy oat milk');
  await rename(right, 'Buy milk', 'Buy soy milk');
  await program.start();
  await Promise.race([left, right].map((page) => page.locator('.conflict').waitFor({ timeout: 30_000 })));
  const second = (await left.locator('.conflict').count()) ? left : right;
  const [mine, theirs] = second === left ? ['Buy oat milk', 'Buy soy milk'] : ['Buy soy milk', 'Buy oat milk'];
  await row(second, theirs).waitFor();
  await second.getByRole('button', { name: `Theirs ${theirs}` }).waitFor();
  await second.getByRole('button', { name: `Yours ${mine}` }).click();
  for (const page of [left, right]) await row(page, mine).waitFor();
  expect(await second.locator('.conflict').count()).toBe(0);
});

test('a to-do tells who did what, and goes back to an earlier state', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await signIn(left, 'Ida');
  await signIn(right, 'Zoë');
  await add(left, 'Paint the shed');
  await rename(right, 'Paint the shed', 'Paint the shed red');
  await check(left, 'Paint the shed red').click();
  await right.getByText('1 of 1 done').waitFor();
  await row(right, 'Paint the shed red').locator('summary').click();
  const lines = right.getByRole('list', { name: 'History' }).getByRole('listitem');
  await expect.poll(async () => (await lines.allInnerTexts()).map((line) => line.replace(/ \d.*/s, ''))).toEqual([
    'Ida ticked it', 'Zoë renamed it to “Paint the shed red”', 'Ida added “Paint the shed”',
  ]);
  await lines.last().getByRole('button', { name: 'Back to this' }).click();
  await row(left, 'Paint the shed').waitFor();
  await left.getByText('0 of 1 done').waitFor();
});

test('what was deleted is brought back', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await add(left, 'Oops');
  await row(right, 'Oops').waitFor();
  await row(left, 'Oops').hover();
  await left.getByRole('button', { name: 'Delete: Oops' }).click();
  await row(right, 'Oops').waitFor({ state: 'detached' });
  await left.getByRole('button', { name: 'Undo' }).click();
  await row(right, 'Oops').waitFor();
});

test('the server is killed again and again while two people add to-dos: each is there once', async () => {
  const pages = [await openWindow(), await openWindow()];
  const titles = Array.from({ length: 60 }, (_, i) => `No ${i}`);
  for (const [i, title] of titles.entries()) {
    await (pages[i % 2] as Page).evaluate((title) => window.gormsync?.collection('todos').insert({ title, done: false, notes: '', position: 1 }).persisted, title);
    if (i % 15 !== 14) continue;
    await program.stop('SIGKILL');
    await program.start();
  }
  for (const page of pages) await expect.poll(() => page.evaluate(() => [window.gormsync?.status, window.gormsync?.pending]), { timeout: 30_000 }).toEqual(['live', 0]);
  const todos = (await (await fetch(`${program.url}/todos.json`)).json()) as { title: string }[];
  expect(todos.map((todo) => todo.title).sort()).toEqual([...titles].sort());
  for (const page of pages) await expect.poll(() => page.locator('.todo[data-id]').count()).toBe(titles.length);
}, 180_000);

test('behind a proxy that refuses WebSockets the list is live all the same', async () => {
  const proxy = await noUpgrades(Number(new URL(program.url).port));
  const [left, right] = [await openWindow(), await openWindow({}, proxy.url)];
  await add(left, 'Straight');
  await row(right, 'Straight').waitFor();
  await add(right, 'By events');
  await row(left, 'By events').waitFor();
  await check(left, 'By events').click();
  await right.getByText('1 of 2 done').waitFor();
  expect(proxy.paths.filter((path) => path.startsWith('/api/sync/events?entities=todos&since=c')).length).toBe(1);
  proxy.close();
});

test('a title is text, whatever is in it', async () => {
  const title = `<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"> "'&`;
  const [left, right] = [await openWindow(), await openWindow()];
  await add(left, title);
  await row(right, title).waitFor();
  await right.reload();
  await row(right, title).waitFor();
  for (const page of [left, right]) expect(await page.evaluate('window.hacked')).toBeUndefined();
});

test('without JavaScript the forms work, and a bad title is explained', async () => {
  const page = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
  open.push(page);
  await page.goto(program.url);
  await add(page, 'Plain');
  await row(page, 'Plain').waitFor();
  await check(page, 'Plain').click();
  await page.getByText('1 of 1 done').waitFor();
  await add(page, '   ');
  await page.getByRole('alert').filter({ hasText: 'in 1 to 200 characters' }).waitFor();
  await row(page, 'Plain').hover();
  await page.getByRole('button', { name: 'Delete: Plain' }).click();
  await page.getByText('Nothing to do', { exact: true }).waitFor();
});

test('with JavaScript a bad title is explained, and keyboard focus is never lost', async () => {
  const page = await openWindow();
  await add(page, '   ');
  await page.getByRole('alert').filter({ hasText: 'in 1 to 200 characters' }).waitFor();
  for (const title of ['Second', 'First']) {
    await add(page, title);
    await row(page, title).waitFor();
  }
  await row(page, 'First').getByRole('button', { name: 'Delete' }).press('Enter');
  await row(page, 'First').waitFor({ state: 'detached' });
  expect(await page.evaluate('document.activeElement.ariaLabel')).toBe('Delete: Second');
});

test('the page in every shape', async () => {
  for (const title of ['Plan the week', 'Book the train to Lyon', 'Water the plants', 'Ask Grandma for the recipe of her plum cake', 'Buy milk']) await post('/todos', { title });
  const size = { viewport: { width: 520, height: 690 }, deviceScaleFactor: 2 };
  const light = await openWindow(size);
  const dark = await openWindow({ ...size, colorScheme: 'dark' });
  const phone = await openWindow({ viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  await signIn(light, 'Ida');
  await signIn(dark, 'Zoë');
  await check(light, 'Book the train to Lyon').click();
  await rename(dark, 'Buy milk', 'Buy oat milk');
  await dark.route(/\/api\/sync\?/, (route) => (route.request().method() === 'POST' ? route.abort() : route.fallback())); // Zoë's edits wait
  await rename(dark, 'Water the plants', 'Water the plants and the lawn');
  await rename(light, 'Water the plants', 'Water the plants, not the cactus');
  await row(light, 'Buy oat milk').locator('summary').click();
  await row(light, 'Buy oat milk').getByText('renamed it to').waitFor();
  await dark.unroute(/\/api\/sync\?/);
  await dark.evaluate(() => void dispatchEvent(new Event('online')));
  await dark.locator('.conflict').waitFor();
  for (const page of [light, dark, phone]) {
    await row(page, 'Water the plants, not the cactus').waitFor();
    await page.getByText('1 of 5 done').waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing is cut off or scrolls sideways').toBe(true);
  }
  const png = await portrait(await browser.newPage({ deviceScaleFactor: 2 }), [light, dark], picture('example.png'));
  expect(png.length, 'bytes: the README shows it').toBeLessThan(400_000);
});
