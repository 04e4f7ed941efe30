import { describe, expect, test } from 'vitest';
import { initial, next, status, table, viaEvents, type Event, type Machine, type State, type Status } from '../../src/state';

// The specification, cell by cell: "next state, what to do, how failures count".
// The types demand every cell; '·' is an event without meaning there.
const spec: Record<State, Record<Event, string>> = {
  idle: {
    start: 'loading load', stop: '·', added: '·', loaded: '·', progress: '·', failed: '·', refused: '·', opened: '·',
    subscribed: '·', heard: '·', reset: '·', wake: '·', timer: '·',
  },
  loading: {
    start: '·', stop: 'idle drop', added: 'loading load', loaded: 'connecting connect', progress: 'loading', failed: 'waiting drop +', refused: 'stopped drop', opened: '·',
    subscribed: '·', heard: '·', reset: 'waiting drop +', wake: '·', timer: 'waiting drop +',
  },
  waiting: {
    start: '·', stop: 'idle drop', added: '·', loaded: '·', progress: '·', failed: '·', refused: '·', opened: '·',
    subscribed: '·', heard: '·', reset: '·', wake: 'loading load 0', timer: 'loading load',
  },
  connecting: {
    start: '·', stop: 'idle drop', added: 'loading load', loaded: '·', progress: '·', failed: 'waiting drop +', refused: 'stopped drop', opened: 'subscribing subscribe',
    subscribed: '·', heard: '·', reset: 'waiting drop +', wake: '·', timer: 'waiting drop +',
  },
  subscribing: {
    start: '·', stop: 'idle drop', added: 'loading load', loaded: '·', progress: '·', failed: 'waiting drop +', refused: 'stopped drop', opened: '·',
    subscribed: 'live', heard: 'subscribing', reset: 'waiting drop +', wake: '·', timer: 'waiting drop +',
  },
  live: {
    start: '·', stop: 'idle drop', added: 'loading load', loaded: '·', progress: '·', failed: 'waiting drop +', refused: 'stopped drop', opened: '·',
    subscribed: 'live 0', heard: 'live 0', reset: 'waiting drop +', wake: 'probing ping', timer: 'probing ping',
  },
  probing: {
    start: '·', stop: 'idle drop', added: 'loading load', loaded: '·', progress: '·', failed: 'waiting drop +', refused: 'stopped drop', opened: '·',
    subscribed: 'live 0', heard: 'live 0', reset: 'waiting drop +', wake: '·', timer: 'waiting drop +',
  },
  stopped: {
    start: 'loading load', stop: 'idle drop', added: '·', loaded: '·', progress: '·', failed: '·', refused: '·', opened: '·',
    subscribed: '·', heard: '·', reset: '·', wake: '·', timer: '·',
  },
};

const states = Object.keys(spec) as State[];
const events = Object.keys(spec.idle) as Event[];
const cells = states.flatMap((state) => events.map((event) => ({ state, event })));

const at = (state: State, failures = 3): Machine => ({ state, failures, wasLive: false });

function told(state: State, event: Event): string {
  const step = next(at(state), event);
  if (!step) return '·';
  const count = { 4: ' +', 3: '', 0: ' 0' }[step.machine.failures];
  return [step.machine.state, step.run].filter(Boolean).join(' ') + count;
}

test.each(cells)('$state, $event', ({ state, event }) => {
  expect(told(state, event)).toBe(spec[state][event]);
});

describe('whatever happens', () => {
  test('a request is sent again only after a counted failure, by the page, or by a timer or a wake', () => {
    const guarded: Event[] = ['start', 'timer', 'wake', 'loaded', 'added'];
    for (const { state, event } of cells) {
      const run = table[state][event]?.run;
      if (run === 'load' || run === 'connect') expect(guarded, `${state}, ${event}`).toContain(event);
    }
  });

  test('the pause of waiting is never zero', () => {
    for (const { state, event } of cells) {
      if (table[state][event]?.to === 'waiting') expect(table[state][event]?.failures, `${state}, ${event}`).toBe('add');
    }
  });

  test('stop ends it and refused is final until the page starts again', () => {
    for (const state of states) expect(next(at(state), 'stop')?.machine.state ?? state).toBe('idle');
    for (const event of events) expect(['stopped', 'idle', 'loading']).toContain(next(at('stopped'), event)?.machine.state ?? 'stopped');
    expect(events.filter((event) => next(at('stopped'), event)?.machine.state === 'loading')).toEqual(['start']);
  });

  test('a connection is dropped, or replaced, on the way to where it is not wanted', () => {
    const open: State[] = ['connecting', 'subscribing', 'live', 'probing'];
    for (const state of open) {
      for (const event of events) {
        const step = table[state][event];
        if (step && !open.includes(step.to)) expect(['drop', 'load'], `${state}, ${event}`).toContain(step.run);
      }
    }
  });

  test('every third try in a row goes by server-sent events', () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8].filter(viaEvents)).toEqual([2, 5, 8]);
  });
});

test('a life', () => {
  const seen: [State, Status][] = [];
  let machine = initial;
  const life: Event[] = ['start', 'loaded', 'opened', 'subscribed', 'failed', 'timer', 'loaded', 'opened', 'subscribed', 'timer', 'heard', 'reset', 'timer', 'refused'];
  for (const event of life) {
    machine = next(machine, event)?.machine ?? machine;
    seen.push([machine.state, status(machine)]);
  }
  expect(seen).toEqual([
    ['loading', 'connecting'], ['connecting', 'connecting'], ['subscribing', 'connecting'], ['live', 'live'],
    ['waiting', 'reconnecting'], ['loading', 'reconnecting'], ['connecting', 'reconnecting'], ['subscribing', 'reconnecting'],
    ['live', 'live'], ['probing', 'live'], ['live', 'live'], ['waiting', 'reconnecting'], ['loading', 'reconnecting'], ['stopped', 'stopped'],
  ]);
});
