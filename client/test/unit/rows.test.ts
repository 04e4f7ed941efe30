import { describe, expect, test } from 'vitest';
import type { Entry, Held } from '../../src/outbox';
import { newest, Rows } from '../../src/rows';
import type { Action, Row } from '../../src/wire';
import { dice } from './dice';

function held(id: string, version: number, title: string | null): Held {
  return { entity: 'todos', id, version, data: title === null ? null : { id, title } };
}

function edit(id: string, action: Action, data: Row | null): Entry {
  return { entity: 'todos', id, action, data, mutation_id: `${id}-${action}`, timestamp: '2026-01-02T03:04:05Z' };
}

const titles = (rows: Rows) => Object.fromEntries(rows.all().map((row) => [row['id'], row['title']]));

describe('put', () => {
  test('puts, changes and drops a row', () => {
    const rows = new Rows();
    rows.put(held('a', 1, 'one'));
    rows.put(held('a', 2, 'two'));
    expect(rows.get('a')).toEqual({ id: 'a', title: 'two' });
    rows.put(held('a', 3, null));
    expect(rows.get('a')).toBeUndefined();
    expect(rows.all()).toEqual([]);
  });

  test('ignores what is older than what is held', () => {
    const rows = new Rows();
    rows.put(held('a', 2, 'two'));
    rows.put(held('a', 1, 'one'));
    expect(titles(rows)).toEqual({ a: 'two' });
  });

  test('does not bring a deleted row back by an older change', () => {
    const rows = new Rows();
    rows.put(held('a', 3, null));
    rows.put(held('a', 2, 'late'));
    expect(rows.get('a')).toBeUndefined();
    rows.put(held('a', 4, 'made again'));
    expect(titles(rows)).toEqual({ a: 'made again' });
  });

  test('takes the first logged change of a row from before the log', () => {
    const rows = new Rows();
    rows.put(held('a', 0, 'unlogged'));
    rows.put(held('a', 9, 'logged'));
    expect(titles(rows)).toEqual({ a: 'logged' });
  });
});

test('after clear, smaller versions are believed: a restored backup', () => {
  const rows = new Rows();
  rows.put(held('a', 50, 'after the backup'));
  rows.put(held('b', 51, null));
  rows.put(held('c', 52, 'not in the backup'));
  rows.clear();
  for (const row of [held('a', 3, 'backup'), held('b', 4, 'backup')]) rows.put(row);
  expect(titles(rows)).toEqual({ a: 'backup', b: 'backup' });
  rows.put(held('a', 5, 'goes on'));
  expect(titles(rows)).toEqual({ a: 'goes on', b: 'backup' });
});

describe('edits', () => {
  test('lie over the rows in their order, and go without a trace', () => {
    const rows = new Rows();
    rows.put(held('a', 1, 'one'));
    rows.put(held('b', 2, 'two'));
    rows.edit([edit('a', 'update', { title: 'mine' }), edit('n', 'create', { title: 'new' }), edit('n', 'update', { done: true }), edit('b', 'delete', null)]);
    expect(rows.all()).toEqual([{ id: 'a', title: 'mine' }, { id: 'n', title: 'new', done: true }]);
    expect(rows.held('a')?.data).toEqual({ id: 'a', title: 'one' });
    rows.edit([]);
    expect(titles(rows)).toEqual({ a: 'one', b: 'two' });
  });

  test('are laid anew over what the server says meanwhile', () => {
    const rows = new Rows();
    rows.put(held('a', 1, 'one'));
    rows.edit([edit('a', 'update', { done: true })]);
    rows.put(held('a', 2, 'two'));
    expect(rows.get('a')).toEqual({ id: 'a', title: 'two', done: true });
  });

  test('of a row that is gone bring nothing back', () => {
    const rows = new Rows();
    rows.put(held('a', 2, null));
    rows.edit([edit('a', 'update', { title: 'mine' }), edit('x', 'update', { title: 'unknown' })]);
    expect(rows.all()).toEqual([]);
    rows.edit([edit('a', 'create', { title: 'again' })]);
    expect(titles(rows)).toEqual({ a: 'again' });
  });
});

test('all is the same array until a row changes', () => {
  const rows = new Rows();
  rows.put(held('a', 1, 'one'));
  const before = rows.all();
  expect(rows.all()).toBe(before);
  rows.put(held('a', 0, 'older'));
  expect(rows.all()).toBe(before);
  rows.put(held('a', 2, 'two'));
  expect(rows.all()).not.toBe(before);
});

test.each([1, 2, 3, 4, 5, 6, 7, 8])('a log delivered in pieces, some of them again, ends as the log does (seed %i)', (seed) => {
  const random = dice(seed);
  const pick = (n: number) => Math.floor(random() * n);
  const log = Array.from({ length: 300 }, (_, i) => held(`r${pick(12)}`, i + 1, pick(4) ? `v${i + 1}` : null));
  const want = new Rows();
  log.forEach((row) => want.put(row));

  const got = new Rows();
  for (let at = 0; at < log.length; ) {
    const from = Math.max(0, at - pick(40)); // a reconnect may go back, never ahead
    at = Math.min(log.length, at + 1 + pick(30));
    log.slice(from, at).forEach((row) => got.put(row));
  }
  expect(titles(got)).toEqual(titles(want));
});

test.each([1, 2, 3, 4, 5])('an edit more on top is the same as all edits anew (seed %i)', (seed) => {
  const random = dice(seed);
  const pick = (n: number) => Math.floor(random() * n);
  const one = new Rows();
  let edits: Entry[] = [];
  const versions: Held[] = [];
  for (let i = 1; i <= 400; i++) {
    const id = `r${pick(6)}`;
    const before = one.all();
    if (pick(3)) {
      const action = (['create', 'update', 'delete'] as const)[pick(3)]!;
      const more = edit(id, action, action === 'delete' ? null : { [`f${pick(3)}`]: i });
      edits = [...edits, more];
      one.add(more);
      expect(one.all()).not.toBe(before);
    } else if (pick(4)) {
      versions.push(held(id, i, pick(4) ? `v${i}` : null));
      one.put(versions.at(-1)!);
    } else one.edit((edits = edits.filter(() => pick(2))));
    if (pick(2)) continue; // sometimes nobody looks in between
    const anew = new Rows();
    versions.forEach((row) => anew.put(row));
    anew.edit(edits);
    const sorted = (rows: Rows) => [...rows.all()].sort((a, b) => String(a['id']).localeCompare(String(b['id'])));
    expect(sorted(one)).toEqual(sorted(anew));
    expect(one.get(id)).toEqual(anew.get(id));
  }
});

test('the newest of each row is kept, where it first stood; rows of two entities are two', () => {
  const held = (entity: string, id: string, version: number) => ({ entity, id, version, data: { version } });
  const rows = [held('a b', 'c', 1), held('a', 'b c', 2), held('a b', 'c', 4), held('a b', 'c', 3), { ...held('a', 'b c', 2), data: null }];
  expect(newest(rows)).toEqual([held('a b', 'c', 4), { ...held('a', 'b c', 2), data: null }]);
});
