import { describe, expect, test } from 'vitest';
import { move, nextBatch, settle, type Entry, type Settlement } from '../../src/outbox';
import type { Action, PushResult, Row } from '../../src/wire';

const entry = (seq: number, id: string, action: Action = 'update', data: Row | null = { n: seq }): Entry => ({
  seq, entity: 'todos', id, action, data, mutation_id: `m${seq}`, timestamp: '2026-01-02T03:04:05Z',
});
const answer = (seq: number, status: PushResult['status'], rest: Partial<PushResult> = {}): PushResult => ({
  id: 'a', mutation_id: `m${seq}`, status, version: 7, data: { id: 'a', n: 0 }, ...rest,
});
const names = (entries: readonly Entry[]) => entries.map((e) => e.mutation_id);
/** What is left of an outbox. */
const left = (outbox: readonly Entry[], { gone, moves }: Settlement) =>
  moves.reduce(move, outbox.filter((e) => !names(gone).includes(e.mutation_id)));

test('a batch has the first edits in order, one of each row', () => {
  const outbox = [entry(1, 'a'), entry(2, 'a'), entry(3, 'b'), { ...entry(4, 'a'), entity: 'lists' }, entry(5, 'c')];
  expect(names(nextBatch(outbox, 100))).toEqual(['m1', 'm3', 'm4', 'm5']);
  expect(names(nextBatch(outbox, 2))).toEqual(['m1', 'm3']);
  expect(nextBatch([], 2)).toEqual([]);
});

describe('settle', () => {
  const first = entry(1, 'a');
  const outbox = [first, entry(2, 'b'), entry(3, 'a'), entry(4, 'a')];
  const settled = (result: PushResult) => settle(outbox, [first], [result]);

  test.each(['applied', 'merged', 'duplicate'] as const)('%s: the edit goes, the next one of the row is based on the answer', (status) => {
    const end = settled(answer(1, status));
    const { gone, rows, outcomes } = end;
    expect(names(gone)).toEqual(['m1']);
    expect(left(outbox, end)).toEqual([entry(2, 'b'), { ...entry(3, 'a'), client_version: 7 }, entry(4, 'a')]);
    expect(rows).toEqual([{ entity: 'todos', id: 'a', version: 7, data: { id: 'a', n: 0 } }]);
    expect(outcomes).toMatchObject([{ mutation_id: 'm1', status: status === 'duplicate' ? 'applied' : status, mine: { n: 1 }, theirs: { id: 'a', n: 0 } }]);
  });

  test('conflict: all edits of the row go, and each is told', () => {
    const conflicts: PushResult['conflicts'] = [{ field: 'n', server_value: 0, server_timestamp: '', client_value: 1, client_timestamp: '', resolution: 'server' }];
    const end = settled(answer(1, 'conflict', { conflicts }));
    const { gone, outcomes } = end;
    expect(outcomes.map((o) => o.conflicts), 'they are of the first one').toEqual([conflicts, undefined, undefined]);
    expect(names(gone)).toEqual(['m1', 'm3', 'm4']);
    expect(left(outbox, end)).toEqual([entry(2, 'b')]);
    expect(outcomes.map((o) => [o.mutation_id, o.status, o.mine, o.theirs])).toEqual([
      ['m1', 'conflict', { n: 1 }, { id: 'a', n: 0 }], ['m3', 'conflict', { n: 3 }, { id: 'a', n: 0 }], ['m4', 'conflict', { n: 4 }, { id: 'a', n: 0 }],
    ]);
  });

  test('rejected: only that edit goes', () => {
    const error = { code: 'invalid', message: 'no' };
    const end = settled(answer(1, 'rejected', { error }));
    const { gone, outcomes } = end;
    expect(names(gone)).toEqual(['m1']);
    expect(left(outbox, end)).toEqual([entry(2, 'b'), { ...entry(3, 'a'), client_version: 7 }, entry(4, 'a')]);
    expect(outcomes).toMatchObject([{ status: 'rejected', error }]);
  });

  test('a rejected row takes its edits along', () => {
    const create = entry(1, 'a', 'create');
    const { gone, rows } = settle([create, entry(2, 'a')], [create], [answer(1, 'rejected', { version: 0, data: null })]);
    expect(names(gone)).toEqual(['m1', 'm2']);
    expect(rows).toEqual([{ entity: 'todos', id: 'a', version: 0, data: null }]);
  });

  test('a key that the database made goes to all edits of the row', () => {
    const create = entry(1, 'temporary', 'create');
    const made = [create, entry(2, 'temporary'), entry(3, 'temporary')];
    const end = settle(made, [create], [answer(1, 'applied', { id: '42' })]);
    expect(left(made, end)).toEqual([{ ...entry(2, '42'), client_version: 7 }, entry(3, '42')]);
    expect(end.rows[0]?.id).toBe('42');
  });

  test('an edit is not behind itself, although the outbox was read from the store anew', () => {
    expect(names(left(outbox, settle(structuredClone(outbox), [first], [answer(1, 'conflict')])))).toEqual(['m2']);
    expect(names(left(outbox, settle(structuredClone(outbox), [first], [answer(1, 'applied')])))).toEqual(['m2', 'm3', 'm4']);
  });

  test.each([[[answer(1, 'retry')]], [[]]])('an edit without a final answer stays', (results) => {
    expect(settle(outbox, [first], results)).toEqual({ gone: [], moves: [], rows: [], outcomes: [] });
  });

  test('an edit that is on its way into the store stays as it is: it finds its base there', () => {
    const { seq: _, ...late } = entry(3, 'a');
    const two = [first, late];
    expect(left(two, settle(two, [first], [answer(1, 'applied')]))).toEqual([late]);
    expect(left(two, settle(two, [first], [answer(1, 'conflict')]))).toEqual([late]);
  });
});
