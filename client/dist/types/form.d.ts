import type { Client } from './client.js';
import type { Row } from './wire.js';
/** Fields by name: a checkbox is a boolean, a number a number or null, of radio buttons the chosen one counts, all else is text. */
export declare function fieldsOf(form: HTMLFormElement): Row;
/**
 * forms makes `<form data-sync-form="todos">` an edit of the table: with a field
 * named id, or data-sync-id, an update of that row, else a new row; with
 * data-sync-action="delete" a deletion. Submitting then works offline.
 */
export declare function forms(client: Client): void;
