import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { flowOf, maxSlots } from './account.ts'
import { takeSlots, type Bucket } from './account-bucket.ts'
import { mostWithin } from '../../test/most-within.ts'

const EMPTY: Bucket = { nextAt: 0, reserveUsed: [] }

/** Takes one after the other, `step` seconds apart. */
const takes = fc.array(
  fc.record({
    step: fc.oneof(
      fc.constant(0),
      fc.double({ min: 0, max: 0.2, noNaN: true }),
      fc.double({ min: 0, max: 5, noNaN: true }),
    ),
    wanted: fc.integer({ min: 0, max: 40 }),
    isForPerson: fc.boolean(),
  }),
  { minLength: 1, maxLength: 120 },
)
const perSecond = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.double({ min: 0.01, max: 1000, noNaN: true }))
const reservePercent = fc.integer({ min: 0, max: 90 })
const burst = fc.integer({ min: 1, max: 50 })

suite('the bucket of an account', () => {
  test('gives in no window more than its rate and its burst, and to lists of people no more than their share', () => {
    fc.assert(
      fc.property(perSecond, reservePercent, burst, takes, (perSecond, percent, burst, takes) => {
        const flow = flowOf({ perSecond, burst }, percent)
        const { all, bulk } = slotsOf(flow, takes)
        const reserve = flow.permits * flow.permitSize
        const even = (seconds: number): number => burst + seconds / flow.intervalSeconds
        const reserved = (seconds: number): number => reserve * (Math.floor(seconds / flow.cooldownSeconds) + 1)

        for (const seconds of [0.1, 1, 3.7, 20]) {
          expect(mostWithin(all, seconds)).toBeLessThanOrEqual(Math.floor(even(seconds) + reserved(seconds) + 1e-6))
          expect(mostWithin(bulk, seconds)).toBeLessThanOrEqual(Math.floor(even(seconds) + 1e-6))
        }
        expect(1 / flow.intervalSeconds + reserve / flow.cooldownSeconds).toBeLessThanOrEqual(perSecond)
      }),
    )
  })

  test('fills no second with more than the rate, where that is 5 or more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 300 }), reservePercent, takes, (perSecond, percent, takes) => {
        fc.pre(percent === 0 || perSecond * percent >= 100)
        const { all, bulk } = slotsOf(flowOf({ perSecond }, percent), takes)

        expect(mostWithin(all, 0.999_999)).toBeLessThanOrEqual(perSecond)
        expect(mostWithin(bulk, 0.999_999)).toBeLessThanOrEqual(Math.ceil(perSecond * (1 - percent / 100)))
      }),
    )
  })

  test('always has its reserve at once for what is for one person', () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 300 }), fc.integer({ min: 20, max: 90 }), takes, (rate, percent, takes) => {
        const flow = flowOf({ perSecond: rate }, percent)
        let bucket = EMPTY
        let now = 0
        for (const { step, wanted } of takes) {
          now += step
          bucket = takeSlots(bucket, flow, now, wanted, false).bucket
        }

        const { slots } = takeSlots(bucket, flow, now, flow.permits * flow.permitSize, true)

        expect(slots.filter((at) => at === now).length).toBeGreaterThanOrEqual(flow.permits * flow.permitSize)
      }),
    )
  })

  test('gives what was asked for and no more than it may, never in the past, never far ahead', () => {
    fc.assert(
      fc.property(perSecond, reservePercent, takes, (perSecond, percent, takes) => {
        const flow = flowOf({ perSecond }, percent)
        let bucket = EMPTY
        let now = 0
        for (const { step, wanted, isForPerson } of takes) {
          now += step
          const before = bucket
          const taken = takeSlots(bucket, flow, now, wanted, isForPerson)
          bucket = taken.bucket

          const horizon = flow.horizonSeconds * (isForPerson ? 2 : 1)
          expect(taken.slots.length).toBeLessThan(wanted + flow.permitSize)
          for (const at of taken.slots) expect(at - now).toBeLessThanOrEqual(horizon + 0.011 * flow.intervalSeconds)
          for (const at of taken.slots) expect(at).toBeGreaterThanOrEqual(now)
          expect(bucket.nextAt).toBeGreaterThanOrEqual(before.nextAt - 1e-9)
          expect(bucket.reserveUsed.length).toBeLessThanOrEqual(flow.permits)
        }
      }),
    )
  })

  test('loses nothing of its rate to somebody who asks in time', () => {
    const flow = flowOf({ perSecond: 30 }, 0)
    let bucket = EMPTY
    let count = 0

    for (let now = 0; now < 15; now += 0.03) {
      const taken = takeSlots(bucket, flow, now, maxSlots(flow), false)
      bucket = taken.bucket
      count += taken.slots.filter((at) => at < 15).length
    }

    expect(count / 15).toBeGreaterThanOrEqual(29.4)
    expect(count / 15).toBeLessThanOrEqual(30)
  })

  test('is not harmed by a clock that is set back, however far', () => {
    const jump = fc.double({ min: 0, max: 100_000, noNaN: true })
    fc.assert(
      fc.property(
        perSecond,
        reservePercent,
        fc.array(fc.tuple(takes, jump), { maxLength: 5 }),
        (rate, percent, days) => {
          const flow = flowOf({ perSecond: rate }, percent)
          let bucket: Bucket = { nextAt: 1000, reserveUsed: [] }
          let now = 1_000_000
          for (const [takes, back] of days) {
            const start = now
            let count = 0
            for (const { step, wanted } of takes) {
              now += step
              const taken = takeSlots(bucket, flow, now, wanted, false)
              bucket = taken.bucket
              count += taken.slots.length
            }

            const passed = now - start + 4 * flow.horizonSeconds
            expect(count).toBeLessThanOrEqual(Math.ceil(passed / flow.intervalSeconds) + 4)
            expect(bucket.nextAt - now).toBeLessThanOrEqual(2.01 * (flow.horizonSeconds + flow.intervalSeconds))
            now -= back
          }
        },
      ),
    )
  })
})

type Take = { step: number; wanted: number; isForPerson: boolean }

function slotsOf(flow: ReturnType<typeof flowOf>, takes: readonly Take[]): { all: number[]; bulk: number[] } {
  let bucket = EMPTY
  let now = 100
  const all: number[] = []
  const bulk: number[] = []
  for (const { step, wanted, isForPerson } of takes) {
    now += step
    const taken = takeSlots(bucket, flow, now, wanted, isForPerson)
    bucket = taken.bucket
    all.push(...taken.slots)
    if (!isForPerson) bulk.push(...taken.slots)
  }
  return { all: all.toSorted((a, b) => a - b), bulk: bulk.toSorted((a, b) => a - b) }
}
