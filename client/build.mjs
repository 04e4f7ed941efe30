// Builds dist/ from src/: client.js for a script tag and for Go's embed,
// index.mjs for bundlers. The types are tsc's part, see package.json.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';

const root = fileURLToPath(new URL('.', import.meta.url));
const limit = 8 * 1024 - 50; // other compressors than Node's make that much more of it
const target = ['chrome103', 'firefox102', 'safari16'];

const banner = '/*! gormsync-client, MIT */';

async function bundle(entry, options) {
  const result = await build({ absWorkingDir: root, entryPoints: [entry], bundle: true, write: false, charset: 'utf8', target, ...options });
  return result.outputFiles[0].text;
}

// Names that only the bundle itself uses: no caller, no message to another tab and nothing that is stored has them.
const inner = /^(alone|apply|changed|clientID|edit|emit|entry|everything|failures|follow|forget|gone|held|kick|known|lead|leave|machine|moved|nudge|outcome|page|post|received|refresh|refuse|resign|run|settle|shared|snapshots|stored|table|tell|verdict|wasLive|written)$/;

/** small minifies again, which takes another 3 %: esbuild alone ends over the limit. */
async function small(script) {
  const compress = { passes: 5, keep_fargs: false, unsafe_arrows: true, unsafe_methods: true, pure_getters: true };
  const { code } = await minify(script, { ecma: 2022, module: true, compress, mangle: { properties: { regex: inner, builtins: true } }, format: { comments: /^!/ } });
  return `${code}\n`;
}

/** bundles gives the files of dist/ by name, without writing them. */
export async function bundles() {
  return {
    'client.js': await small(await bundle('src/script.ts', { format: 'iife', minify: true, banner: { js: banner } })),
    LICENSE: await readFile(`${root}../LICENSE`, 'utf8'),
    'react.mjs': await bundle('src/react.ts', { format: 'esm', packages: 'external' }),
    'index.mjs': await bundle('src/index.ts', { format: 'esm', packages: 'external' }),
  };
}

/** oversize says what is wrong with a bundle's size as a browser downloads it; empty if nothing. */
function oversize(name, gzip) {
  return name !== 'client.js' || gzip <= limit ? '' : `dist/${name} is over ${limit} bytes gzip: make it smaller, or raise the limit in build.mjs and say why`;
}

async function main() {
  await rm(`${root}dist`, { recursive: true, force: true }); // what src/ does not make any more must not stay
  await mkdir(`${root}dist`);
  for (const [name, text] of Object.entries(await bundles())) {
    const gzip = gzipSync(text, { level: 9 }).length;
    await writeFile(`${root}dist/${name}`, text);
    console.log(`dist/${name}: ${text.length} bytes, ${gzip} gzip`);
    if (oversize(name, gzip)) process.exitCode = console.error(oversize(name, gzip)) ?? 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
