import { defineConfig } from 'vitest/config';

// Measures by `make bench-client`; not part of the tests.
export default defineConfig({ test: { include: ['bench/*.bench.ts'], testTimeout: 300_000, disableConsoleIntercept: true } });
