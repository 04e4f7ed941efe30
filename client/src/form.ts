import type { Client } from './client.js';
import type { Row } from './wire.js';

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** Fields by name: a checkbox is a boolean, a number a number or null, of radio buttons the chosen one counts, all else is text. */
export function fieldsOf(form: HTMLFormElement): Row {
  const row: Row = {};
  for (const field of form.elements as unknown as Iterable<Field>) {
    const { name, type, value } = field;
    const { checked, valueAsNumber } = field as HTMLInputElement;
    if (!name || field.matches(':disabled') || /^(submit|button|reset|image|file)$/.test(type)) continue;
    if (type === 'checkbox') row[name] = checked;
    else if (/^(number|range)$/.test(type)) row[name] = value === '' ? null : valueAsNumber;
    else if (type !== 'radio' || checked) row[name] = value;
  }
  return row;
}

/**
 * forms makes `<form data-sync-form="todos">` an edit of the table: with a field
 * named id, or data-sync-id, an update of that row, else a new row; with
 * data-sync-action="delete" a deletion. Submitting then works offline.
 */
export function forms(client: Client): void {
  document.addEventListener('submit', (e) => {
    const form = e.target as HTMLFormElement;
    const { syncForm, syncId, syncAction } = form.dataset;
    if (!syncForm || e.defaultPrevented) return;
    e.preventDefault();
    const { id = syncId, ...fields } = fieldsOf(form);
    const rows = client.collection(syncForm);
    if (syncAction === 'delete') rows.delete(String(id));
    else if (id) rows.update(String(id), fields);
    else {
      rows.insert(fields);
      form.reset();
    }
  });
}
