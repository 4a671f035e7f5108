import { expect, suite, test } from 'vitest'
import { retryDelay } from './retry.ts'

suite('the delay before a retry', () => {
  test('follows the schedule, spread by a fifth to both sides', () => {
    expect(retryDelay([60, 300], 1, undefined, 0)).toBe(48)
    expect(retryDelay([60, 300], 1, undefined, 0.5)).toBe(60)
    expect(retryDelay([60, 300], 2, undefined, 0.5)).toBe(300)
  })

  test('ends with the schedule', () => {
    expect(retryDelay([60, 300], 3, undefined, 0.5)).toBeNull()
    expect(retryDelay([], 1, 10, 0.5)).toBeNull()
  })

  test('is at least what the provider asks for, up to six hours', () => {
    expect(retryDelay([60], 1, 900, 0.5)).toBe(900)
    expect(retryDelay([60], 1, 1, 0.5)).toBe(60)
    expect(retryDelay([60], 1, 1e9, 0.5)).toBe(6 * 3600)
  })
})
