import { defineConfig } from 'vitest/config'

/** Tests that kill processes by the dozen. One after another, so that they have the machine to themselves. */
export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
})
