import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test('dist/ is what src/ builds: run `npm run build` when this fails', async () => {
  const { bundles } = (await import('../../build.mjs' as string)) as { bundles(): Promise<Record<string, string>> };
  for (const [name, text] of Object.entries(await bundles())) {
    expect(readFileSync(new URL(`../../dist/${name}`, import.meta.url), 'utf8') === text, name).toBe(true);
  }
});
