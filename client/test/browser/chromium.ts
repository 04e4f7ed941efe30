import { chromium, type Browser } from 'playwright-core';

const args = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** launch starts the machine's own Chromium: the one that CHROMIUM names, or the usual one. */
export async function launch(): Promise<Browser> {
  const executablePath = process.env['CHROMIUM'] || '/usr/bin/chromium';
  try {
    return await chromium.launch({ executablePath, args });
  } catch (error) {
    throw new Error(`the browser tests need Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path. ${String(error)}`);
  }
}
