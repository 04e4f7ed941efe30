/** What a tab is told. */
export interface TabEvents<Message> {
  /** This tab leads from now on; alone unless the browser has no locks. */
  lead(alone: boolean): void;
  /** It leads no more; the next one leads when the promise is fulfilled. */
  resign(): Promise<void>;
  heard(message: Message): void;
}

/**
 * Tabs elects one of the tabs of a name, by a Web Lock: it holds the lock as
 * long as it lives. Tabs with the same store talk to each other over a channel.
 */
export class Tabs<Message> {
  leader = false;
  readonly #name: string;
  readonly #on: TabEvents<Message>;
  #channel: BroadcastChannel | undefined;
  #wanted = new AbortController();
  #release = () => {};

  constructor(
    name: string,
    on: TabEvents<Message>,
  ) {
    this.#name = name;
    this.#on = on;
  }

  /** join takes part in the election; without a common store a tab leads itself. */
  join(common: boolean): void {
    const { locks } = navigator;
    if (common) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#on.heard(data as Message);
    }
    if (!common || !locks) return this.#lead(!common);
    const { signal } = (this.#wanted = new AbortController());
    locks.request(this.#name, { signal }, () => this.#reign(signal)).catch(() => {}); // given up
  }

  /** leave gives the lead up, and is not heard any more. */
  async leave(): Promise<void> {
    this.#wanted.abort();
    this.#channel?.close();
    this.#channel = undefined;
    if (!this.leader) return;
    this.leader = false;
    await this.#on.resign();
    this.#release();
  }

  /** alone does something when no tab leads. */
  async alone(job: () => Promise<void>): Promise<void> {
    await (navigator.locks ? navigator.locks.request(this.#name, job) : job());
  }

  /** post tells the other tabs. */
  post(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #lead(alone: boolean): void {
    this.leader = true;
    this.#on.lead(alone);
  }

  async #reign({ aborted }: AbortSignal): Promise<void> {
    if (aborted) return;
    const reign = new Promise<void>((done) => (this.#release = done));
    this.#lead(true);
    await reign;
  }
}
