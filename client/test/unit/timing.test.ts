import { expect, test } from 'vitest';
import { initial, type State } from '../../src/state';
import { backoff, timeout } from '../../src/timing';

test('backoff doubles its ceiling up to half a minute', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7, 1000].map((n) => backoff(n, 1))).toEqual([0, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
});

test('backoff has full jitter: anything from nothing to the ceiling', () => {
  expect([0, 0.25, 0.5, 0.999].map((random) => backoff(3, random))).toEqual([0, 1000, 2000, 3996]);
});

test('every state has its time', () => {
  const times: Record<State, number | undefined> = {
    idle: undefined, stopped: undefined, connecting: 10_000, waiting: 2000, loading: 30_000, subscribing: 10_000, live: 30_000, probing: 5000,
  };
  for (const [state, ms] of Object.entries(times)) expect(timeout({ ...initial, state: state as State, failures: 3 }, 0.5), state).toBe(ms);
});
