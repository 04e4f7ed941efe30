import { Emitter } from './emitter.js';
import { uuid } from './replica.js';
import type { Outcome } from './outbox.js';
import type { Rows } from './rows.js';
import type { Action, Row } from './wire.js';

/** An edit on its way. */
export interface Mutation {
  /** The key of the row; for a key that the database makes, the one it has until the server answers. */
  id: string;
  mutation_id: string;
  /** Fulfilled when the edit is stored on this device and survives a reload; rejected when it cannot be stored. */
  persisted: Promise<void>;
  /** Fulfilled with the server's answer, be it late or a refusal; never while the page is closed before. */
  settled: Promise<Outcome>;
}

/** @internal How a collection reaches its client. */
export type Edit = (action: Action, id: string, data: Row | null) => Mutation;

/** Collection is the rows of one table, with this device's edits. */
export class Collection<T extends object = Row> {
  readonly #rows: Rows;
  readonly #edit: Edit;
  readonly #emitter = new Emitter<{ rows: undefined }>();

  /** @internal */
  constructor(
    rows: Rows,
    edit: Edit,
  ) {
    this.#rows = rows;
    this.#edit = edit;
  }

  /** get is the row with that primary key, written as text. */
  get(id: string): T | undefined {
    return this.#rows.get(id) as T | undefined;
  }

  /** all lists the rows in no particular order. It is the same array as long as no row changed. */
  all(): readonly T[] {
    return this.#rows.all() as unknown as readonly T[];
  }

  /**
   * insert adds a row, here at once and then on the server. Its key is `id`, or
   * the row's own `id`, or a new UUID; a key that the database makes takes the
   * place of that one when the server answers.
   */
  insert(row: Partial<T>, id: string = String((row as Row)['id'] ?? uuid())): Mutation {
    return this.#edit('create', id, plain(row));
  }

  /** update sets some fields of a row. */
  update(id: string, fields: Partial<T>): Mutation {
    return this.#edit('update', id, plain(fields));
  }

  /** delete deletes a row. */
  delete(id: string): Mutation {
    return this.#edit('delete', id, null);
  }

  /** subscribe calls back with all rows, now and after every change, and returns the function that ends it. */
  subscribe(listener: (rows: readonly T[]) => void): () => void {
    const end = this.#emitter.on('rows', () => listener(this.all()));
    listener(this.all());
    return end;
  }

  /** @internal */
  tell(): void {
    this.#emitter.emit('rows', undefined);
  }
}

/** Fields as the server gets them: dates as text, nothing undefined. */
const plain = (fields: object) => JSON.parse(JSON.stringify(fields)) as Row;
