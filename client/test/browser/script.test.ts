import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { MockServer } from './mock';

declare const gormsync: Client;

let browser: Browser;
let server: MockServer;
let url: string;

beforeAll(async () => {
  browser = await launch();
  server = new MockServer();
  url = await server.listen();
  server.put('a', { id: 'a', title: 'first' });
});
afterAll(async () => {
  await browser.close();
  server.close();
});

async function visit(head: string, body: string, run: (page: Page, logged: string[]) => Promise<void>): Promise<void> {
  server.pages['/'] = [head, body];
  const page = await browser.newPage();
  const logged: string[] = [];
  page.on('console', (message) => logged.push(message.text()));
  page.on('pageerror', (error) => logged.push(String(error)));
  await page.goto(url);
  await run(page, logged);
  await page.close();
}

const follows = async (page: Page) => {
  await page.waitForFunction(() => window.gormsync?.status === 'live');
  expect(await page.evaluate(() => gormsync.collection('todos').all())).toEqual([{ id: 'a', title: 'first' }]);
};

const src = 'src="/api/sync/client.js" data-entities="todos"';
const dynamic = `<script>const s = document.createElement('script'); s.src = '/api/sync/client.js'; s.dataset.entities = 'todos'; document.head.append(s);</script>`;

test.each([
  ['blocking in the head', `<script ${src}></script>`, ''],
  ['blocking at the end of the body', '', `<script ${src}></script>`],
  ['defer', `<script defer ${src}></script>`, ''],
  ['async', `<script async ${src}></script>`, ''],
  ['added by a script', '', dynamic],
  ['with a query in its address', `<script src="/api/sync/client.js?v=1" data-entities="todos"></script>`, ''],
])('a script tag is all that a page needs: %s', (_, head, body) =>
  visit(head, body, async (page, logged) => {
    await follows(page);
    expect(logged).toEqual([]);
  }));

test('data-event-prefix names the DOM events', () =>
  visit(`<script ${src} data-event-prefix="rhtmx"></script>`, `<script>
    window.heard = []; document.body.addEventListener('rhtmx:todos:changed', (e) => heard.push(e.detail.ids));
    document.body.addEventListener('rhtmx:status', (e) => heard.push(e.detail.status));
  </script>`, async (page) => {
    await follows(page);
    expect(await page.evaluate('heard')).toEqual(['connecting', ['a'], 'live']);
  }));

test('a second tag changes nothing', () =>
  visit(`<script ${src}></script><script>window.first = gormsync</script><script ${src}></script>`, '', async (page) => {
    await follows(page);
    expect(await page.evaluate('first === gormsync')).toBe(true);
  }));

test('without entities the console says what to add', () =>
  visit('<script src="/api/sync/client.js"></script>', '', async (page, logged) => {
    expect(await page.evaluate('typeof gormsync')).toBe('undefined');
    expect(logged.join()).toContain('name the tables to follow');
  }));

test('inline, without an address, the console says how to load it', () =>
  visit('', `<script>fetch('/api/sync/client.js').then((r) => r.text()).then((text) => (0, eval)(text)).then(() => (window.done = true))</script>`, async (page, logged) => {
    await page.waitForFunction('window.done');
    expect(logged.join()).toContain('<script src=');
  }));
