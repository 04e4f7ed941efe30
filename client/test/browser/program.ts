// Builds and runs a program of this repository: the example, or one made for a test.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const repository = fileURLToPath(new URL('../../../', import.meta.url));

/** Program is one that serves, with a folder of its own for its database. */
export class Program {
  readonly folder = mkdtempSync(join(tmpdir(), 'gormsync-example-'));
  url = '';
  #port = 0;
  #process: ChildProcess | undefined;

  constructor(readonly path = './example') {}

  /** build compiles it; GO names the go command if it is not on PATH. */
  async build(): Promise<void> {
    await promisify(execFile)(process.env['GO'] || 'go', ['build', '-o', join(this.folder, 'program'), this.path], { cwd: repository });
    this.#port = await freePort();
    this.url = `http://localhost:${this.#port}`;
  }

  /** The database, unless start is told of another. */
  get database(): string {
    return `sqlite://${join(this.folder, 'todos.db')}`;
  }

  /** start runs it, always on the same address, and waits until it says that it serves. */
  async start(database = this.database): Promise<void> {
    const args = ['-addr', `localhost:${this.#port}`, '-db', database];
    const child = spawn(join(this.folder, 'program'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    let output = '';
    await new Promise<void>((serving, failed) => {
      const read = (data: Buffer) => {
        output += String(data);
        if (output.includes(this.url)) serving();
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.once('exit', (code) => failed(new Error(`${this.path} ended with ${code}: ${output}`)));
    });
  }

  /** Whether it runs. */
  get running(): boolean {
    return !!this.#process;
  }

  /** stop asks it to end, as Ctrl+C does, or kills it, and gives its exit code. */
  async stop(signal: 'SIGINT' | 'SIGKILL' = 'SIGINT'): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return child?.exitCode ?? null;
    const exit = once(child, 'exit');
    child.kill(signal);
    return (await exit)[0] as number | null;
  }

  /** remove ends it for good and removes its folder. */
  remove(): void {
    this.#process?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
