// The code of docs/client.md, run as it stands there.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;
declare const rename: (id: string, title: string) => Promise<string>;

const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const text = readFileSync(root('../docs/client.md'), 'utf8');
const fences = [...text.matchAll(/```(\w+) ?(\w*)\n(.*?)```/gs)].map(([, language, name, code]) => ({ language, name: name as string, code: code as string }));
const code = (name: string) => fences.find((fence) => fence.name === name)?.code ?? '';
const ran = new Set<string>();

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
});
afterEach(async () => {
  await page.context().close();
  server.close();
});

async function open(name: string, body = code(name)): Promise<void> {
  ran.add(name);
  server.pages['/'] = ['', body];
  await page.goto(url);
}
const live = () => page.waitForFunction(() => gormsync.status === 'live');
const items = () => page.locator('li').allInnerTexts();

test('a script tag', async () => {
  await open('live');
  await expect.poll(items).toEqual(['first', 'second']);
  server.put('c', { id: 'c', title: 'third' });
  await expect.poll(items).toEqual(['first', 'second', 'third']);
});

test('an edit and its answer', async () => {
  await open('edit');
  await live();
  expect(await page.evaluate(() => rename('a', 'renamed'))).toBe('renamed');
  server.frozen = true;
  server.put('a', { id: 'a', title: 'theirs' });
  expect(await page.evaluate(() => rename('a', 'mine'))).toBe('it is called theirs');
  expect(await page.evaluate(() => rename('nope', 'mine'))).toBe('it is gone');
});

test('a conflict, and insisting', async () => {
  await open('conflict');
  await live();
  server.frozen = true;
  server.put('a', { id: 'a', title: 'theirs' });
  const asked: string[] = [];
  const thrown: string[] = [];
  page.on('pageerror', (error) => thrown.push(String(error)));
  page.on('dialog', (dialog) => (asked.push(dialog.message()), void dialog.accept()));
  await page.evaluate(() => void gormsync.collection('todos').update('a', { title: 'mine' }));
  await expect.poll(() => server.row('a')?.['title']).toBe('mine');
  expect(asked).toEqual(['“theirs” or “mine”?']);
  server.put('b', { id: 'b', title: 'kept' });
  await page.evaluate(() => void gormsync.collection('todos').delete('b'));
  await expect.poll(() => server.row('b')).toBeNull();
  expect(asked.slice(1)).toEqual(['Delete “kept” all the same?']);
  server.put('a', null);
  const gone = await page.evaluate(() => gormsync.collection('todos').update('a', { title: 'mine' }).settled);
  expect(gone).toMatchObject({ status: 'conflict', theirs: null });
  expect([asked.length, thrown]).toEqual([2, []]);
});

test('forms', async () => {
  await open('form');
  await live();
  await page.locator('[name=title]').first().fill('from the form');
  for (const button of ['Add', 'Save', 'Delete']) await page.getByRole('button', { name: button }).click();
  await expect.poll(() => server.applied.length).toBe(3);
  expect(server.row('a')).toMatchObject({ title: 'Another title' });
  expect(server.row('b')).toBeNull();
  expect(server.pushes.flat().find((change) => change.action === 'create')?.data).toEqual({ title: 'from the form', done: false });
});

test('htmx', async () => {
  server.files['/htmx.js'] = ['text/javascript', readFileSync(root('node_modules/htmx.org/dist/htmx.min.js'), 'utf8')];
  server.files['/list'] = ['text/html', '<li>one</li>'];
  await open('htmx');
  await live();
  await expect.poll(items).toEqual(['one']);
  server.files['/list'] = ['text/html', '<li>two</li>'];
  server.put('a', { id: 'a', title: 'changed' });
  await expect.poll(items).toEqual(['two']);
});

test('React', async () => {
  const entry = `${code('react')}\nimport { createRoot } from 'react-dom/client'; createRoot(document.querySelector('#root')!).render(<Todos />);`;
  const { outputFiles } = await build({
    stdin: { contents: entry, loader: 'tsx', resolveDir: root('.') }, bundle: true, write: false, format: 'iife', jsx: 'automatic', define: { 'process.env.NODE_ENV': '"production"' },
    alias: { 'gormsync-client': root('dist/index.mjs'), 'gormsync-client/react': root('dist/react.mjs') },
  });
  server.files['/app.js'] = ['text/javascript', outputFiles[0]?.text ?? ''];
  await open('react', '<div id="root"></div><script src="/app.js"></script>');
  await expect.poll(items).toEqual(['first', 'second']);
  server.put('c', { id: 'c', title: 'third' });
  await expect.poll(items).toEqual(['first', 'second', 'third']);
  await page.getByText('first').click();
  await expect.poll(items).toEqual(['second', 'third']);
  await expect.poll(() => server.row('a')).toBeNull();
});

test('no code block is left out', () => {
  expect(fences.map(({ name }) => name).sort()).toEqual([...ran].sort());
});

test('the protocol names every golden message, and tests that exist', () => {
  const protocol = readFileSync(root('../docs/protocol.md'), 'utf8');
  for (const file of readdirSync(root('../testdata/wire'))) expect(protocol).toContain(`\`${file}\``);
  for (const [, path] of protocol.matchAll(/`([\w/.]+(?:_test\.go|\.test\.ts))`/g)) readFileSync(root(`../${path}`));
});
