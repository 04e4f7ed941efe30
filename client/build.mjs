// Builds dist/ from src/: client.js for a script tag and for Go's embed,
// index.mjs for bundlers. The types are tsc's part, see package.json.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('.', import.meta.url));
const limit = 8 * 1024;
const target = ['chrome103', 'firefox102', 'safari16'];

// partysocket's code has no licence comment that a bundler would keep; its licence wants to be named.
const banner = '/*! gormsync-client, MIT. Contains partysocket, MIT, Copyright (c) 2010-2012, Joe Walnes: see LICENSES.txt beside this file. */';

async function bundle(entry, options) {
  const result = await build({ absWorkingDir: root, entryPoints: [entry], bundle: true, write: false, charset: 'utf8', target, ...options });
  return result.outputFiles[0].text;
}

/** bundles gives the files of dist/ by name, without writing them. */
export async function bundles() {
  return {
    'client.js': await bundle('src/script.ts', { format: 'iife', minify: true, legalComments: 'inline', banner: { js: banner } }),
    'index.mjs': await bundle('src/index.ts', { format: 'esm', packages: 'external' }),
    'LICENSES.txt': `client.js contains partysocket:\n\n${await readFile(`${root}node_modules/partysocket/LICENSE.txt`, 'utf8')}\n`,
  };
}

/** oversize says what is wrong with a bundle's size as a browser downloads it; empty if nothing. */
function oversize(name, gzip) {
  return name.endsWith('.txt') || gzip <= limit ? '' : `dist/${name} is over ${limit} bytes: make it smaller, or raise the limit in build.mjs and say why`;
}

async function main() {
  await mkdir(`${root}dist`, { recursive: true });
  for (const [name, text] of Object.entries(await bundles())) {
    const gzip = gzipSync(text, { level: 9 }).length;
    await writeFile(`${root}dist/${name}`, text);
    console.log(`dist/${name}: ${text.length} bytes, ${gzip} gzip`);
    if (oversize(name, gzip)) throw new Error(oversize(name, gzip));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
