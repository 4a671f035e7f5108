import { expect, suite, test } from 'vitest'
import { DeliveryError } from '../core/errors.ts'
import { idGenerator } from '../core/id.ts'
import { resultOfFailure } from './outcome.ts'

const ACCEPTED_MS = Date.UTC(2026, 10, 21)
const DAY_MS = 24 * 3600 * 1000
const CHANNEL = { isIdempotent: false, onUncertain: 'hold', retrySeconds: [60, 300] } as const
const id = idGenerator(
  () => 1,
  () => ACCEPTED_MS,
)()

const resultOf = (error: DeliveryError, { days = 0, attempt = 0 } = {}) =>
  resultOfFailure(
    CHANNEL,
    { id, attempt, crashes: 0 },
    { error, hadBegun: true },
    { uncertainResendSeconds: 0, random: 0.5, nowMs: ACCEPTED_MS + days * DAY_MS },
  )

suite('an answer that is about the account', () => {
  const busy = new DeliveryError('retry', 'slow down', { stopsAccount: true, retryAfterSeconds: 40 })

  test('is no attempt of the delivery that got it, however often', () => {
    const postponed = { id, state: 'postponed', reason: 'slow down', afterSeconds: 40 }

    expect([resultOf(busy), resultOf(busy, { days: 2.9, attempt: 1 })]).toEqual([postponed, postponed])
  })

  test('is one after three days, so that nothing waits for ever', () => {
    expect(resultOf(busy, { days: 3.1 })).toMatchObject({ state: 'retry', afterSeconds: 60 })
    expect(resultOf(busy, { days: 3.1, attempt: 2 })).toMatchObject({ state: 'failed', verdict: 'retry' })
  })

  test('is one at once where it is about the message alone', () => {
    const refused = new DeliveryError('retry', 'slow down', { retryAfterSeconds: 400 })

    expect(resultOf(refused)).toMatchObject({ state: 'retry', afterSeconds: 400 })
  })
})
