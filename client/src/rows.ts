import type { Entry, Held } from './outbox.js';
import type { Row } from './wire.js';

/** same compares rows by value, field by field: most values are plain, and compared at no cost. */
export const same = (a: Row | undefined, b: Row | undefined): boolean =>
  a === b || (!!a && !!b && Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((key) => a[key] === b[key] || JSON.stringify(a[key]) === JSON.stringify(b[key])));

/** newest is the last word on each row. */
export function newest(rows: readonly Held[]): Held[] {
  const last = new Map<string, Held>();
  for (const row of rows) {
    const key = `${row.entity}\0${row.id}`;
    if (row.version >= (last.get(key)?.version ?? 0)) last.set(key, row);
  }
  return [...last.values()];
}

/**
 * Rows is one table as this device sees it: the server's rows, and on top of
 * them, in their order, the edits that the server has not answered. To take an
 * edit back is to leave it out.
 */
export class Rows {
  #held = new Map<string, Held>();
  #edits: readonly Entry[] = [];
  #over = new Map<string, Row | null>();
  #stale = false;
  #list: readonly Row[] | null = null;

  /** held is what the server said of a row. */
  held(id: string): Held | undefined {
    return this.#held.get(id);
  }

  /** known is every row that the server spoke of. */
  known(): Iterable<Held> {
    return this.#held.values();
  }

  /**
   * put takes the server's word on a row, unless it is older than what is held:
   * versions of a row only grow, so then it was delivered a second time.
   */
  put(row: Held): void {
    if (row.version < (this.#held.get(row.id)?.version ?? 0)) return;
    this.#held.set(row.id, row);
    this.#changed();
  }

  /**
   * clear forgets what the server said. What comes after may be older: after a
   * restored backup versions are smaller than they were.
   */
  clear(): void {
    this.#held.clear();
    this.#changed();
  }

  /** edit lays these edits over the rows, instead of those before. */
  edit(edits: readonly Entry[]): void {
    this.#edits = edits;
    this.#changed();
  }

  /** add lays one more edit on top. */
  add(edit: Entry): void {
    this.#edits = [...this.#edits, edit];
    if (!this.#stale) this.#layOne(edit);
    this.#list = null;
  }

  /** get is the row with that id, edits included. */
  get(id: string): Row | undefined {
    if (this.#stale) this.#lay();
    return (this.#over.has(id) ? this.#over.get(id) : this.#held.get(id)?.data) ?? undefined;
  }

  /** all lists the rows. It is the same array until something changes. */
  all(): readonly Row[] {
    if (this.#stale) this.#lay();
    return (this.#list ??= [...new Set([...this.#held.keys(), ...this.#over.keys()])].flatMap<Row>((id) => this.get(id) ?? []));
  }

  #changed(): void {
    this.#stale = true;
    this.#list = null;
  }

  #lay(): void {
    this.#stale = false;
    this.#over.clear();
    this.#edits.forEach((edit) => this.#layOne(edit));
  }

  /** An update of a row that is gone brings nothing back: the server is going to refuse it. */
  #layOne({ id, action, data }: Entry): void {
    const before = this.get(id);
    this.#over.set(id, action === 'create' ? { id, ...before, ...data } : action === 'update' && before ? { ...before, ...data } : null);
  }
}
