/** What a tab is told. */
export interface TabEvents<Message> {
  /** This tab leads from now on; alone unless the browser has no locks. */
  lead(alone: boolean): void;
  /** It leads no more; the next one leads when the promise is fulfilled. */
  resign(): Promise<void>;
  heard(message: Message): void;
}

/** Tabs is a tab among those of the same name. */
export interface Tabs<Message> {
  readonly leader: boolean;
  /** join takes part in the election; without a common store a tab leads itself. */
  join(common: boolean): void;
  /** leave gives the lead up, and is not heard any more. */
  leave(): Promise<void>;
  /** alone does something when no tab leads. */
  alone(job: () => Promise<void>): Promise<void>;
  /** post tells the other tabs. */
  post(message: Message): void;
}

/**
 * newTabs elects one of the tabs of a name, by a Web Lock: it holds the lock as
 * long as it lives. Tabs with the same store talk to each other over a channel.
 */
export function newTabs<Message>(name: string, on: TabEvents<Message>): Tabs<Message> {
  const { locks } = navigator;
  let leader = false;
  let channel: BroadcastChannel | undefined;
  let wanted: AbortController | undefined;
  let release: (() => void) | undefined;

  function lead(alone: boolean): void {
    leader = true;
    on.lead(alone);
  }

  async function reign({ aborted }: AbortSignal): Promise<void> {
    if (aborted) return;
    const ended = new Promise<void>((done) => (release = done));
    lead(true);
    await ended;
  }

  return {
    get leader() {
      return leader;
    },
    join(common) {
      if (common) {
        channel = new BroadcastChannel(name);
        channel.onmessage = ({ data }) => on.heard(data as Message);
      }
      if (!common || !locks) return lead(!common);
      const { signal } = (wanted = new AbortController());
      locks.request(name, { signal }, () => reign(signal)).catch(() => {}); // given up
    },
    async leave() {
      wanted?.abort();
      channel?.close();
      channel = undefined;
      if (!leader) return;
      leader = false;
      await on.resign();
      release?.();
    },
    async alone(job) {
      await (locks ? locks.request(name, job) : job());
    },
    post: (message) => channel?.postMessage(message),
  };
}
