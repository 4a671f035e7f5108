import { expect, suite, test } from 'vitest'
import { pauseMs, QUICK_ATTEMPTS } from './backoff.ts'

suite('the pause before another attempt', () => {
  test.each([
    [0, 500],
    [1, 1_000],
    [3, 4_000],
    [6, 30_000],
    [9, 30_000],
  ])('after %i failures is anywhere up to %i ms', (failures, bound) => {
    expect(pauseMs(failures, () => 0)).toBe(0)
    expect(pauseMs(failures, () => 0.5)).toBe(bound / 2)
    expect(pauseMs(failures, () => 1)).toBe(bound)
  })

  test('after ten failures is about a minute, for as long as it takes', () => {
    for (const failures of [QUICK_ATTEMPTS, 50, 5_000]) {
      expect(pauseMs(failures, () => 0)).toBe(54_000)
      expect(pauseMs(failures, () => 1)).toBe(66_000)
    }
  })
})
