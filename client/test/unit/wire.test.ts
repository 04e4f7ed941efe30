import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { settle } from '../../src/outbox';
import { changesOf, eventsURL, judgeClose, judgeError, judgeStatus, ping, pullURL, pushURL, snapshotURL, socketURL, subscribe, type PushResult, type ServerFrame, type Snapshot } from '../../src/wire';

// The golden files are read by the Go tests too: they are what both sides mean.
const folder = new URL('../../../testdata/wire/', import.meta.url);
const golden = <T>(name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as T;

test('what a follower sends', () => {
  expect(subscribe({ todos: 'cAQAAKoPABAAA0EeqJQ', lists: 'cAQAAKoPAEQAAyqrLvg' })).toEqual(golden('subscribe'));
  expect(ping).toEqual(golden('ping'));
});

test('the answers to a push', () => {
  const sent = ['m1', 'm2'].map((mutation_id, i) => ({ entity: 'todos', id: ['5', 'tmp-1'][i] as string, action: 'update' as const, data: { done: false }, mutation_id, timestamp: '2026-01-02T03:04:05Z' }));
  const { gone, rows, outcomes } = settle(sent, sent, golden<{ results: PushResult[] }>('pushed').results);
  expect(gone).toEqual(sent);
  expect(rows.map((row) => [row.id, row.version])).toEqual([['5', 20], ['7', 19]]);
  expect(outcomes.map(({ id, status, conflicts }) => [id, status, conflicts?.map((c) => [c.field, c.server_value, c.client_value])])).toEqual([
    ['5', 'merged', [['done', true, false]]], ['7', 'applied', undefined],
  ]);
});

test('a snapshot', () => {
  const snapshot = golden<Snapshot>('snapshot');
  expect(snapshot.changes.map((c) => `${c.entity_id} ${c.version}`)).toEqual(['5 3', '4 0']);
  expect(snapshot.changes[1]?.data).toEqual({ id: '4', title: 'Older than the log', done: true, notes: '' });
  expect(snapshot.cursor).toBe('cAQAAKoPABAAA0EeqJQ');
});

// For every server frame: the row changes in it, as "entity/id version action".
const frames: Record<ServerFrame['type'] | 'changes-more', string[]> = {
  subscribed: [], heartbeat: [], reset: [], error: [], pong: [],
  change: ['todos/5 17 update'],
  changes: ['todos/6 18 create', 'lists/1,home 19 delete'],
  'changes-more': ['todos/7 20 create'],
  leave: ['todos/5 21 delete'],
};

test.each(Object.entries(frames))('the changes in a frame: %s', (name, want) => {
  const changes = changesOf(golden<ServerFrame>(name));
  expect(changes.map((c) => `${c.entity}/${c.entity_id} ${c.version} ${c.action}`)).toEqual(want);
});

test('addresses', () => {
  const at = { base: '/api', user: '' };
  const ann = { base: 'https://example.org/api', user: 'ann' };
  expect(snapshotURL(at, 'a b')).toBe('/api/sync/a%20b?');
  expect(snapshotURL(ann, 'a b')).toBe('https://example.org/api/sync/a%20b?user=ann');
  expect(pullURL(at, ['todos', 'lists'], 'now')).toBe('/api/sync?entities=todos%2Clists&since=now');
  expect(eventsURL(ann, ['todos'], 'c1')).toBe('https://example.org/api/sync/events?entities=todos&since=c1&user=ann');
  expect(pushURL(ann)).toBe('https://example.org/api/sync?user=ann');
  expect(socketURL(ann)).toBe('wss://example.org/api/sync/ws?user=ann');
  expect(socketURL({ base: 'http://localhost:8080/api', user: '' })).toBe('ws://localhost:8080/api/sync/ws?');
});

test('who is to come back', () => {
  expect([1000, 1006, 1009, 1012, 4008, 4029, 4100].map(judgeClose)).toEqual(['failed', 'failed', 'failed', 'failed', 'failed', 'refused', 'failed']);
  expect([4000, 4001, 4003, 4099].map(judgeClose)).toEqual(Array(4).fill('refused'));
  expect(judgeStatus(410, true)).toBe('reset');
  for (const status of [400, 401, 403, 404, 413, 422]) expect(judgeStatus(status, true)).toBe('refused');
  for (const status of [408, 429, 500, 502, 503]) expect(judgeStatus(status, true)).toBe('failed');
  // An answer that is not the server's, such as a proxy's error page.
  for (const status of [401, 413]) expect(judgeStatus(status, false)).toBe('refused');
  for (const status of [304, 400, 403, 404, 405, 410, 421, 425, 451, 500]) expect(judgeStatus(status, false)).toBe('failed');
  expect(['cursor_expired', 'forbidden', 'busy', 'bad_request'].map(judgeError)).toEqual(['reset', 'refused', 'failed', null]);
});
