// The example program in two windows, as its welcome text invites to try it.
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { launch } from './chromium';
import { Program } from './program';
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
  const todos = (await (await fetch(`${program.url}/todos.json`)).json()) as { id: string }[];
  for (const { id } of todos) await post(`/todos/${id}/delete`);
});

/** A window of its own browser profile, that follows. */
async function openWindow(options: BrowserContextOptions = {}): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(10_000);
  open.push(page);
  await page.goto(program.url);
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

function post(path: string, fields: Record<string, string> = {}, accept = 'application/json'): Promise<Response> {
  return fetch(program.url + path, { method: 'POST', body: new URLSearchParams(fields), headers: { accept }, redirect: 'manual' });
}

test('what one window adds, ticks and deletes, the other one shows', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await right.getByText('Nothing to do', { exact: true }).waitFor();
  await add(left, '  Buy milk ');
  await row(right, 'Buy milk').waitFor({ timeout: 2000 });
  await right.getByText('0 of 1 done').waitFor();

  await check(left, 'Buy milk').click();
  await right.getByText('1 of 1 done').waitFor({ timeout: 2000 });
  expect(await check(right, 'Buy milk').isChecked()).toBe(true);
  await check(right, 'Buy milk').click();
  await left.getByText('0 of 1 done').waitFor({ timeout: 2000 });

  await row(right, 'Buy milk').hover();
  await right.getByRole('button', { name: 'Delete: Buy milk' }).click();
  await row(left, 'Buy milk').waitFor({ state: 'detached', timeout: 2000 });
  await left.getByText('No to-dos').waitFor();
});

test('rows glow when another window changed them, and only then', async () => {
  const [left, right] = [await openWindow(), await openWindow()];
  await add(left, 'Glow');
  await right.locator('.todo.changed', { hasText: 'Glow' }).waitFor();
  await row(left, 'Glow').waitFor();
  expect(await left.locator('.changed').count()).toBe(0);
  await check(right, 'Glow').click();
  await left.locator('.todo.changed', { hasText: 'Glow' }).waitFor();
});

test('the server goes away and comes back: the page says so, reconnects and catches up', async () => {
  const page = await openWindow();
  await add(page, 'Before');
  await row(page, 'Before').waitFor();
  expect(await program.stop()).toBe(0);
  await says(page, 'Reconnecting');
  await add(page, 'Meanwhile');
  await page.getByRole('alert').filter({ hasText: 'The server cannot be reached' }).waitFor();
  expect(await page.getByLabel('New to-do').inputValue()).toBe('Meanwhile');

  await program.start();
  await post('/todos', { title: 'After' });
  await row(page, 'After').waitFor();
  await says(page, 'Live');
  await page.getByRole('button', { name: 'Add' }).click();
  await row(page, 'Meanwhile').waitFor();
  expect(await page.locator('#problem').textContent()).toBe('');
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
  for (const title of ['Plan the week', 'Book the train to Lyon', 'Water the plants', 'Ask Grandma for the recipe of her plum cake', 'Buy milk and coffee']) await post('/todos', { title });
  const light = await openWindow({ viewport: { width: 520, height: 570 }, deviceScaleFactor: 2 });
  const dark = await openWindow({ viewport: { width: 520, height: 570 }, deviceScaleFactor: 2, colorScheme: 'dark' });
  const phone = await openWindow({ viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  for (const title of ['Book the train to Lyon', 'Buy milk and coffee']) await check(light, title).click();
  await dark.reload(); // so that only what comes now glows
  await says(dark, 'Live');
  await add(light, 'Call the plumber');
  for (const page of [light, dark, phone]) {
    await row(page, 'Call the plumber').waitFor();
    await page.getByText('2 of 6 done').waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing is cut off or scrolls sideways').toBe(true);
  }
  const png = await portrait(await browser.newPage({ deviceScaleFactor: 2 }), [light, dark], picture('example.png'));
  expect(png.length, 'bytes: the README shows it').toBeLessThan(300_000);
});
