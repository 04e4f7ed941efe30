import { defineConfig } from 'vitest/config';

// The browser tests start browsers and servers: they get time, and each file its own processes.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 300_000,
    pool: 'forks',
    maxWorkers: 2,
    minWorkers: 1,
  },
});
