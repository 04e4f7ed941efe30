// How fast the client takes changes in: from the frame on the socket until the
// rows are stored and shown. Beside it, in the same page and the same rounds,
// the floor: the same rows put into IndexedDB by hand, in one transaction.
import { expect, test } from 'vitest';
import type { Client } from '../src/client';
import { launch } from '../test/browser/chromium';
import { MockServer } from '../test/browser/mock';

declare const gormsync: Client;

const rows = 20_000;
const rounds = Number(process.env['ROUNDS'] ?? 5);
const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] as number;

test(`${rows} changes`, async () => {
  const server = new MockServer();
  const url = await server.listen();
  const browser = await launch();
  const page = await browser.newPage();
  await page.goto(url);
  await page.waitForFunction(() => gormsync.status === 'live');

  /** Milliseconds from the sending of the frames until the last row is stored and shown. */
  const take = async (round: number, frames: number) => {
    const last = `r${rows - 1}`;
    const shown = page.evaluate(([last, round]) => new Promise<number>((done) => {
      const end = gormsync.on('change', ({ ids }) => {
        if (!ids.includes(last) || gormsync.collection('todos').get(last)?.['round'] !== round) return;
        end();
        done(performance.timeOrigin + performance.now());
      });
    }), [last, round] as const);
    await page.evaluate(() => new Promise(requestAnimationFrame));
    const start = performance.timeOrigin + performance.now();
    server.transaction(Array.from({ length: rows }, (_, i) => [`r${i}`, { id: `r${i}`, title: `Something to be done, number ${i}`, done: false, position: i, notes: '', round }]), 'todos', frames);
    return (await shown) - start;
  };
  const floor = () => page.evaluate((rows) => new Promise<number>((done) => {
    const open = indexedDB.open('floor', 1);
    open.onupgradeneeded = () => open.result.createObjectStore('rows', { keyPath: ['entity', 'id'] });
    open.onsuccess = () => {
      const start = performance.now();
      const tx = open.result.transaction('rows', 'readwrite');
      for (let i = 0; i < rows; i++) tx.objectStore('rows').put({ entity: 'todos', id: `r${i}`, version: i, data: { id: `r${i}`, title: `Something to be done, number ${i}`, done: false, position: i, notes: '', round: 0 } });
      tx.oncomplete = () => (open.result.close(), done(performance.now() - start));
    };
  }), rows);

  await take(0, 1);
  const took = { 'one frame': [] as number[], '150 frames': [] as number[], 'IndexedDB alone': [] as number[] };
  for (let i = 0; i < rounds; i++) {
    took['IndexedDB alone'].push(await floor());
    took['one frame'].push(await take(2 * i + 1, 1));
    took['150 frames'].push(await take(2 * i + 2, 150));
  }
  const base = median(took['IndexedDB alone']);
  for (const [name, all] of Object.entries(took)) {
    const ms = median(all);
    console.log(`${name.padEnd(16)} ${ms.toFixed(0).padStart(6)} ms  ${Math.round((rows / ms) * 1000).toLocaleString('en').padStart(8)} changes/s  ${(ms / base).toFixed(2)} of IndexedDB alone`);
  }
  expect(await page.evaluate(() => gormsync.collection('todos').all().length)).toBe(rows);
  await browser.close();
  server.close();
});
