import { expect, suite, test } from 'vitest'
import { mayWaitForAccount, stopSeconds } from './account-stop.ts'
import { idGenerator } from './id.ts'

const HOUR_MS = 3600 * 1000

suite('what a provider asks for', () => {
  test.each([
    [undefined, 60],
    [NaN, 60],
    [0, 60],
    [-5, 60],
    [-Infinity, 60],
    [0.001, 1],
    [30, 30],
    [3600, 3600],
    [1e12, 3600],
    [Infinity, 3600],
  ])('%s is a pause of %s s', (asked, seconds) => {
    expect(stopSeconds(asked)).toBe(seconds)
  })

  test('costs a delivery no attempt for three days', () => {
    const acceptedMs = Date.UTC(2026, 10, 21)
    const id = idGenerator(
      () => 1,
      () => acceptedMs,
    )()

    expect(mayWaitForAccount(id, acceptedMs)).toBe(true)
    expect(mayWaitForAccount(id, acceptedMs + 71 * HOUR_MS)).toBe(true)
    expect(mayWaitForAccount(id, acceptedMs + 73 * HOUR_MS)).toBe(false)
  })
})
