import { defineConfig } from 'vitest/config'

/**
 * Tests that kill processes by the dozen, over databases of their own. One after another, so that they have the machine to
 * themselves.
 */
export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 240_000,
    hookTimeout: 120_000,
  },
})
