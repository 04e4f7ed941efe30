// Two people at one browser, one after the other, with the real server.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Client } from '../../src/client';
import { launch } from './chromium';
import { Program } from './program';

declare const gormsync: Client;

interface Note {
  ID: string;
  Owner: string;
  Text: string;
}

const program = new Program('./client/test/users');
let browser: Browser;
let context: BrowserContext;

beforeAll(async () => {
  await program.build();
  await program.start();
  browser = await launch();
});
afterAll(async () => {
  await browser.close();
  program.remove();
});
beforeEach(async () => {
  context = await browser.newContext();
  await context.addInitScript(() => (Math.random = () => 0.05)); // pauses before a next try are short
});
afterEach(() => context.close());

const signIn = (user: string) => context.addCookies([{ name: 'user', value: user, url: program.url }]);
const status = (page: Page, want: string) => page.waitForFunction((want) => gormsync.status === want, want);
const texts = (page: Page) => page.evaluate(() => gormsync.collection('notes').all().map((row) => row['text']).sort());
const pending = (page: Page) => page.evaluate(() => gormsync.pending);
const stored = async (text: string) => ((await (await fetch(`${program.url}/log`)).json()) as Note[]).filter((note) => note.Text === text).map((note) => note.Owner);

async function tab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(program.url);
  await status(page, 'live');
  return page;
}

const write = (page: Page, owner: string, text: string) =>
  page.evaluate(([owner, text]) => gormsync.collection('notes').insert({ owner, text }).persisted, [owner, text] as const);

test.each([
  ['a WebSocket', 'ws'],
  ['server-sent events', 'sse'],
])('somebody else signs in while the page is open, over %s: the edits wait for whom they are of', async (_, link) => {
  const [alice, bob] = [`alice-${link}`, `bob-${link}`];
  if (link === 'sse')
    await context.addInitScript(() => {
      window.WebSocket = class {
        onclose?: (e: object) => void;
        constructor() {
          setTimeout(() => this.onclose?.({ code: 1006, reason: 'refused' }));
        }
        close(): void {}
      } as unknown as typeof WebSocket;
    });
  await signIn(alice);
  const hers = await tab();
  await write(hers, alice, `hers ${link}`);
  await expect.poll(() => pending(hers)).toBe(0);

  await signIn(bob);
  await write(hers, alice, `waits ${link}`);
  await status(hers, 'stopped');
  const his = await tab();
  await write(his, bob, `his ${link}`);
  await expect.poll(() => pending(his)).toBe(0);
  await write(hers, alice, `waits, too ${link}`); // one more edit is one more try
  await hers.evaluate(() => {
    gormsync.start(); // so is starting by hand
    dispatchEvent(new Event('online'));
  });
  await status(hers, 'stopped');
  expect(await pending(hers)).toBe(2);
  expect(await stored(`waits ${link}`)).toEqual([]);
  expect(await texts(hers)).toEqual([`hers ${link}`, `waits ${link}`, `waits, too ${link}`]);
  expect(await texts(his)).toEqual([`his ${link}`]);
  expect(await pending(his)).toBe(0);

  await signIn(alice);
  const again = await tab();
  for (const page of [hers, again]) await expect.poll(() => texts(page)).toEqual([`hers ${link}`, `waits ${link}`, `waits, too ${link}`]);
  await hers.evaluate(() => gormsync.start());
  for (const page of [hers, again]) await expect.poll(() => pending(page)).toBe(0);
  expect([await stored(`waits ${link}`), await stored(`waits, too ${link}`)], 'once each').toEqual([[alice], [alice]]);
  await write(his, bob, `his later ${link}`);
  await status(his, 'stopped');
  expect(await pending(his), 'and now his wait').toBe(1);
});

test('a live connection that breaks does not come back as somebody else', async () => {
  await signIn('carol');
  const hers = await tab();
  await signIn('dave');
  await program.stop('SIGKILL');
  await status(hers, 'reconnecting');
  await program.start();
  await status(hers, 'stopped');
  expect(await texts(hers)).toEqual([]);
});
