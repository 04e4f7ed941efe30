import { describe, expect, test } from 'vitest';
import { Rows } from '../../src/rows';
import type { Change } from '../../src/wire';

function change(id: string, version: number, title: string | null): Change {
  const action = title === null ? 'delete' : 'update';
  return { id: version, entity: 'todos', entity_id: id, action, version, data: title === null ? null : { id, title } };
}

const titles = (rows: Rows) => Object.fromEntries(rows.all().map((row) => [row['id'], row['title']]));

describe('apply', () => {
  test('puts, changes and drops a row', () => {
    const rows = new Rows();
    expect(rows.apply(change('a', 1, 'one'))).toBe(true);
    expect(rows.apply(change('a', 2, 'two'))).toBe(true);
    expect(rows.get('a')).toEqual({ id: 'a', title: 'two' });
    expect(rows.apply(change('a', 3, null))).toBe(true);
    expect(rows.get('a')).toBeUndefined();
    expect(rows.all()).toEqual([]);
  });

  test('ignores what is older than what is held, and says that nothing changed when nothing did', () => {
    const rows = new Rows();
    rows.apply(change('a', 2, 'two'));
    expect(rows.apply(change('a', 1, 'one'))).toBe(false);
    expect(rows.apply(change('a', 2, 'two'))).toBe(false);
    expect(rows.apply(change('a', 3, 'two'))).toBe(false);
    expect(rows.apply(change('a', 2, 'between'))).toBe(false);
    expect(titles(rows)).toEqual({ a: 'two' });
  });

  test('does not bring a deleted row back by an older change', () => {
    const rows = new Rows();
    rows.apply(change('a', 1, 'one'));
    rows.apply(change('a', 3, null));
    expect(rows.apply(change('a', 2, 'late'))).toBe(false);
    expect(rows.get('a')).toBeUndefined();
    expect(rows.apply(change('a', 4, 'made again'))).toBe(true);
  });

  test('takes the first logged change of a row from before the log', () => {
    const rows = new Rows();
    rows.apply(change('a', 0, 'unlogged'));
    expect(rows.apply(change('a', 9, 'logged'))).toBe(true);
  });
});

describe('replace', () => {
  test('names the rows that differ, and only those', () => {
    const rows = new Rows();
    for (const id of ['same', 'other', 'gone']) rows.apply(change(id, 5, id));
    expect(rows.replace([change('same', 5, 'same'), change('other', 6, 'changed'), change('new', 7, 'new')]).sort()).toEqual(['gone', 'new', 'other']);
    expect(titles(rows)).toEqual({ same: 'same', other: 'changed', new: 'new' });
  });

  test('believes a snapshot whose versions are smaller: a restored backup', () => {
    const rows = new Rows();
    rows.apply(change('a', 50, 'after the backup'));
    rows.apply(change('b', 51, null));
    expect(rows.replace([change('a', 3, 'backup'), change('b', 4, 'backup')])).toEqual(['a', 'b']);
    expect(rows.apply(change('a', 5, 'goes on'))).toBe(true);
  });
});

test('all is the same array until a row changes', () => {
  const rows = new Rows();
  rows.apply(change('a', 1, 'one'));
  const before = rows.all();
  rows.apply(change('a', 1, 'one'));
  expect(rows.all()).toBe(before);
  rows.replace([change('a', 1, 'one')]);
  expect(rows.all()).toEqual(before);
  rows.apply(change('a', 2, 'two'));
  expect(rows.all()).not.toBe(before);
});

/** A small generator with a seed (mulberry32), so that a failure can be had again. */
function dice(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])('a log delivered in pieces, some of them again, ends as the log does (seed %i)', (seed) => {
  const random = dice(seed);
  const pick = (n: number) => Math.floor(random() * n);
  const log = Array.from({ length: 300 }, (_, i) => change(`r${pick(12)}`, i + 1, pick(4) ? `v${i + 1}` : null));
  const want = new Rows();
  log.forEach((c) => want.apply(c));

  const got = new Rows();
  for (let at = 0; at < log.length; ) {
    const from = Math.max(0, at - pick(40)); // a reconnect may go back, never ahead
    at = Math.min(log.length, at + 1 + pick(30));
    log.slice(from, at).forEach((c) => got.apply(c));
  }
  expect(titles(got)).toEqual(titles(want));
});
