import { expect, test, vi } from 'vitest';
import { Emitter } from '../../src/emitter';

test('a listener hears until it is removed', () => {
  const emitter = new Emitter<{ x: number }>();
  const heard: number[] = [];
  const off = emitter.on('x', (n) => heard.push(n));
  emitter.on('x', (n) => heard.push(-n));
  emitter.emit('x', 1);
  off();
  emitter.emit('x', 2);
  expect(heard).toEqual([1, -1, -2]);
});

test('a listener that throws is reported and the next one is called', () => {
  const reported = vi.fn();
  vi.stubGlobal('reportError', reported);
  const emitter = new Emitter<{ x: number }>();
  const heard = vi.fn();
  emitter.on('x', () => {
    throw new Error('listener');
  });
  emitter.on('x', heard);
  emitter.emit('x', 1);
  expect(heard).toHaveBeenCalledWith(1);
  expect(reported).toHaveBeenCalledWith(new Error('listener'));
});
