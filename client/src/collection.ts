import { Emitter } from './emitter';
import { Rows } from './rows';
import type { Row } from './wire';

/** Collection is the rows of one table. */
export class Collection<T extends object = Row> {
  /** @internal */
  readonly rows = new Rows();
  readonly #emitter = new Emitter<{ rows: readonly T[] }>();

  /** get is the row with that primary key, written as text. */
  get(id: string): T | undefined {
    return this.rows.get(id) as T | undefined;
  }

  /** all lists the rows in no particular order. It is the same array as long as no row changed. */
  all(): readonly T[] {
    return this.rows.all() as unknown as readonly T[];
  }

  /** subscribe calls back with all rows, now and after every change, and returns the function that ends it. */
  subscribe(listener: (rows: readonly T[]) => void): () => void {
    const end = this.#emitter.on('rows', listener);
    listener(this.all());
    return end;
  }

  /** @internal */
  tell(): void {
    this.#emitter.emit('rows', this.all());
  }
}
