// A TCP proxy that breaks connections as networks do; a browser's own offline
// mode leaves open sockets open.
import { once } from 'node:events';
import { createServer as createHTTP, request } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Proxy stands between a browser and a server. */
export class Proxy {
  /** `freeze` loses every byte and says nothing: a half-open link. */
  mode: 'up' | 'down' | 'freeze' = 'up';
  readonly #pairs = new Set<Socket>();
  readonly #server = createServer((client) => this.#join(client));
  #port = 0;

  /** listen starts it in front of a port of this machine and gives its address. */
  async listen(port: number): Promise<string> {
    this.#port = port;
    this.#server.listen(0, 'localhost');
    await once(this.#server, 'listening');
    return `http://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  /** down cuts every connection and refuses new ones. */
  down(): void {
    this.mode = 'down';
    this.#pairs.forEach((socket) => socket.resetAndDestroy());
  }

  close(): void {
    this.down();
    this.#server.close();
  }

  #join(client: Socket): void {
    if (this.mode === 'down') return void client.resetAndDestroy();
    const server = connect(this.#port, 'localhost');
    for (const [from, to] of [[client, server], [server, client]] as const) {
      this.#pairs.add(from);
      from.on('data', (data) => this.mode !== 'freeze' && to.write(data));
      from.on('error', () => {}); // cut on purpose
      from.on('close', () => (this.#pairs.delete(from), to.destroy()));
    }
  }
}

/** noUpgrades is an HTTP proxy as some companies have them: it lets everything through but WebSockets. */
export async function noUpgrades(port: number): Promise<{ url: string; paths: string[]; close(): void }> {
  const paths: string[] = [];
  const server = createHTTP((req, res) => {
    paths.push(String(req.url));
    const out = request({ host: 'localhost', port, path: req.url, method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    out.on('error', () => res.destroy());
    res.on('close', () => out.destroy());
    req.pipe(out);
  });
  server.on('upgrade', (_, socket) => socket.destroy());
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    paths,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
