import { describe, expect, test } from 'vitest';
import { initial, next, status, table, type Event, type Machine, type State, type Status } from '../../src/state';

// The specification, cell by cell: "next state, what to do, how failures count".
// The types demand every cell; '·' is an event without meaning there.
const spec: Record<State, Record<Event, string>> = {
  idle: {
    start: 'loading load', stop: '·', loaded: '·', progress: '·', failed: '·', refused: '·', opened: '·',
    closed: '·', subscribed: '·', heard: '·', reset: '·', wake: '·', timer: '·',
  },
  loading: {
    start: '·', stop: 'idle abort', loaded: 'connecting connect', progress: 'loading', failed: 'waiting +', refused: 'stopped abort', opened: '·',
    closed: '·', subscribed: '·', heard: '·', reset: '·', wake: '·', timer: 'waiting abort +',
  },
  waiting: {
    start: '·', stop: 'idle', loaded: '·', progress: '·', failed: '·', refused: '·', opened: '·',
    closed: '·', subscribed: '·', heard: '·', reset: '·', wake: 'loading load', timer: 'loading load',
  },
  connecting: {
    start: '·', stop: 'idle disconnect', loaded: '·', progress: '·', failed: 'connecting reconnect +', refused: 'stopped disconnect', opened: 'subscribing subscribe',
    closed: 'connecting reconnect +', subscribed: '·', heard: '·', reset: 'waiting disconnect +', wake: 'connecting hurry 0', timer: '·',
  },
  subscribing: {
    start: '·', stop: 'idle disconnect', loaded: '·', progress: '·', failed: 'connecting reconnect +', refused: 'stopped disconnect', opened: '·',
    closed: 'connecting reconnect +', subscribed: 'live', heard: 'subscribing', reset: 'waiting disconnect +', wake: '·', timer: 'connecting reconnect +',
  },
  live: {
    start: '·', stop: 'idle disconnect', loaded: '·', progress: '·', failed: 'connecting reconnect +', refused: 'stopped disconnect', opened: '·',
    closed: 'connecting reconnect +', subscribed: 'live 0', heard: 'live 0', reset: 'waiting disconnect +', wake: 'probing ping', timer: 'probing ping',
  },
  probing: {
    start: '·', stop: 'idle disconnect', loaded: '·', progress: '·', failed: 'connecting reconnect +', refused: 'stopped disconnect', opened: '·',
    closed: 'connecting reconnect +', subscribed: 'live 0', heard: 'live 0', reset: 'waiting disconnect +', wake: '·', timer: 'connecting reconnect +',
  },
  stopped: {
    start: 'loading load', stop: 'idle', loaded: '·', progress: '·', failed: '·', refused: '·', opened: '·',
    closed: '·', subscribed: '·', heard: '·', reset: '·', wake: '·', timer: '·',
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

test('no event is missing from the specification', () => {
  for (const state of states) expect(Object.keys(table[state]).sort()).toEqual([...events].sort());
});

describe('whatever happens', () => {
  test('a request is sent again only after a counted failure, by the page, or by a timer or a wake', () => {
    const guarded: Event[] = ['start', 'timer', 'wake', 'loaded'];
    for (const { state, event } of cells) {
      const step = table[state][event];
      if (step?.run !== 'load' && step?.run !== 'connect' && step?.run !== 'reconnect') continue;
      expect(step.failures === 'add' || guarded.includes(event), `${state}, ${event}`).toBe(true);
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

  test('the socket is dropped on the way to where it is not wanted', () => {
    const open: State[] = ['connecting', 'subscribing', 'live', 'probing'];
    for (const state of open) {
      for (const event of events) {
        const step = table[state][event];
        if (step && !open.includes(step.to)) expect(step.run, `${state}, ${event}`).toBe('disconnect');
      }
    }
  });
});

test('a life', () => {
  const seen: [State, Status][] = [];
  let machine = initial;
  const life: Event[] = ['start', 'loaded', 'opened', 'subscribed', 'closed', 'opened', 'subscribed', 'timer', 'heard', 'reset', 'timer', 'failed', 'refused', 'timer', 'refused'];
  for (const event of life) {
    machine = next(machine, event)?.machine ?? machine;
    seen.push([machine.state, status(machine)]);
  }
  expect(seen).toEqual([
    ['loading', 'connecting'], ['connecting', 'connecting'], ['subscribing', 'connecting'], ['live', 'live'],
    ['connecting', 'reconnecting'], ['subscribing', 'reconnecting'], ['live', 'live'], ['probing', 'live'], ['live', 'live'],
    ['waiting', 'reconnecting'], ['loading', 'reconnecting'], ['waiting', 'reconnecting'], ['waiting', 'reconnecting'],
    ['loading', 'reconnecting'], ['stopped', 'stopped'],
  ]);
});
