import type { Change, Row } from './wire';

interface Held {
  version: number;
  /** null: the row was deleted. It is kept so that an older change cannot bring it back. */
  data: Row | null;
}

/** Rows holds the rows of one entity by id. */
export class Rows {
  #held = new Map<string, Held>();
  #list: readonly Row[] | null = null;

  /**
   * apply takes one change and reports whether the row is another one now. A
   * change older than what is held is ignored: versions of a row only grow, so
   * it was delivered a second time.
   */
  apply(change: Change): boolean {
    const data = change.action === 'delete' ? null : change.data;
    const held = this.#held.get(change.entity_id);
    if (held && change.version < held.version) return false;
    this.#held.set(change.entity_id, { version: change.version, data });
    return this.#differs(held?.data ?? null, data);
  }

  /**
   * replace puts a snapshot in the place of everything held and returns the ids
   * of the rows that differ. What was held before has no say: after a restored
   * backup the versions may be smaller than they were.
   */
  replace(snapshot: readonly Change[]): string[] {
    const before = this.#held;
    this.#held = new Map();
    this.#list = null;
    for (const change of snapshot) this.apply(change);
    const ids = new Set([...before.keys(), ...this.#held.keys()]);
    return [...ids].filter((id) => this.#differs(before.get(id)?.data ?? null, this.#held.get(id)?.data ?? null));
  }

  /** get is the row with that id. */
  get(id: string): Row | undefined {
    return this.#held.get(id)?.data ?? undefined;
  }

  /** all lists the rows. It is the same array until a row changes. */
  all(): readonly Row[] {
    this.#list ??= [...this.#held.values()].flatMap<Row>((held) => held.data ?? []);
    return this.#list;
  }

  #differs(before: Row | null, after: Row | null): boolean {
    if (JSON.stringify(before) === JSON.stringify(after)) return false;
    this.#list = null;
    return true;
  }
}
