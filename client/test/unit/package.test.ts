// The package, as somebody installs it who has nothing of this repository.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'gormsync-package-'));
const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });

beforeAll(() => {
  run('npm', 'pack', root('.'), '--ignore-scripts');
  const [packed] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'fresh', private: true, type: 'module' }));
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', '--legacy-peer-deps', `./${packed}`);
  mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
  symlinkSync(root('node_modules/@types/react'), join(folder, 'node_modules/@types/react'));
  writeFileSync(join(folder, 'app.ts'), `
    import { createClient, type Client, type Collection, type Mutation, type Outcome } from 'gormsync-client';
    import { useCollection } from 'gormsync-client/react';
    interface Todo { id: string; title: string }
    const client: Client = createClient({ base: '/api', entities: ['todos'], user: 'ann' });
    const todos: Collection<Todo> = client.collection<Todo>('todos');
    const edit: Mutation = todos.update('a', { title: 'x' });
    void edit.settled.then((outcome: Outcome) => outcome.theirs?.['title']);
    client.on('status', ({ persistent }) => persistent === true);
    export const useTodos = (): readonly Todo[] => useCollection<Todo>(client, 'todos');
    // @ts-expect-error the types are there: a wrong name is found
    client.on('nothing', () => {});
  `);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ['nodenext', 'nodenext'],
  ['node16', 'node16'],
  ['esnext', 'bundler'],
])('it compiles strictly with module %s and resolution %s', (module, moduleResolution) => {
  const compilerOptions = { strict: true, noEmit: true, target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], types: [], exactOptionalPropertyTypes: true, skipLibCheck: false, module, moduleResolution };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }));
  let output = '';
  try {
    output = run(process.execPath, root('node_modules/typescript/bin/tsc'), '-p', '.');
  } catch (error) {
    output = String((error as { stdout?: string }).stdout);
  }
  expect(output).toBe('');
});

test('node loads it', () => {
  expect(run(process.execPath, '--input-type=module', '-e', `import { createClient } from 'gormsync-client'; console.log(typeof createClient)`)).toBe('function\n');
});
