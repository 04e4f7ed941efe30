import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';

const update = process.env['UPDATE_SCREENSHOTS'] === '1';
const images = fileURLToPath(new URL('../../../docs/images', import.meta.url));
const temporary = join(tmpdir(), 'gormsync-shots');

/** picture is where a picture goes: a temporary folder, or with UPDATE_SCREENSHOTS=1 the one that the README shows. */
export const picture = (name: string) => join(update ? images : temporary, name);

const style = `
  body { margin: 0; padding: 36px 40px 44px; display: inline-flex; gap: 28px; background: #d5e2de; }
  figure { margin: 0; border-radius: 12px; overflow: hidden; background: #e8e8e6; box-shadow: 0 0 0 1px #0002, 0 8px 20px -8px #0005; }
  figure:last-child { background: #2a2d32; }
  figure::before { content: ""; display: block; height: 30px; background: radial-gradient(circle 5.5px at 18px 15px, #f2645a 94%, #0000), radial-gradient(circle 5.5px at 37px 15px, #f5bd4f 94%, #0000), radial-gradient(circle 5.5px at 56px 15px, #5fc454 94%, #0000); }
  img { display: block; width: 520px; }`;

/** portrait takes one picture of what the windows show, side by side, each with a frame. */
export async function portrait(canvas: Page, windows: Page[], path: string): Promise<Buffer> {
  const seen = await Promise.all(windows.map((page) => page.screenshot()));
  const figures = seen.map((png) => `<figure><img src="data:image/png;base64,${png.toString('base64')}" alt=""></figure>`);
  await canvas.setContent(`<style>${style}</style>${figures.join('')}`);
  return canvas.locator('body').screenshot({ path });
}
