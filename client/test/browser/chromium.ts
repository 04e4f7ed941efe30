import { readlinkSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContext } from 'playwright-core';

const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const executablePath = process.env['CHROMIUM'] || '/usr/bin/chromium';
// Playwright turns the back/forward cache off, which people's browsers have.
const ignoreDefaultArgs = ['--disable-back-forward-cache'];

/** launch starts the machine's own Chromium: the one that CHROMIUM names, or the usual one. */
export async function launch(...more: string[]): Promise<Browser> {
  try {
    return await chromium.launch({ executablePath, args: [...args, ...more], ignoreDefaultArgs });
  } catch (error) {
    throw new Error(`the browser tests need Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path. ${String(error)}`);
  }
}

/** A browser with a profile that outlives it. */
export interface Profile {
  context: BrowserContext;
  folder: string;
  /** kill ends the browser as a crash does. */
  kill(): Promise<void>;
  remove(): void;
}

/** launchProfile starts a browser on a profile folder, a new one unless it is named. */
export async function launchProfile(folder = mkdtempSync(join(tmpdir(), 'gormsync-profile-'))): Promise<Profile> {
  const context = await chromium.launchPersistentContext(folder, { executablePath, args });
  let alive = true;
  return {
    context,
    folder,
    async kill() {
      if (!alive) return;
      alive = false;
      const gone = new Promise((done) => context.once('close', done));
      process.kill(Number(readlinkSync(join(folder, 'SingletonLock')).split('-').at(-1)), 'SIGKILL'); // a link to <host>-<pid>
      await gone;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
