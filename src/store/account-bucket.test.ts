import fc from 'fast-check'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { flowOf, maxSlots, type Flow } from '../core/account.ts'
import { MAX_STOP_SECONDS } from '../core/account-stop.ts'
import { takeSlots as takeSlotsOf } from '../core/account-bucket.ts'
import { stopAccount, stoppedAccounts, takeSlots } from './account-bucket.ts'
import { mostWithin } from '../../test/most-within.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

let accounts = 0
const newAccount = () => ({ account: `email:${(accounts += 1)}`, channel: 'email' })

type Row = { at: number; next_at: number; reserve_used: number[] }

async function rowOf(account: string): Promise<Row> {
  const [row] = await database.db.query<Row>(
    `select extract(epoch from at)::float8 as at, extract(epoch from next_at)::float8 as next_at,
       array(select extract(epoch from used)::float8 from unnest(reserve_used) as used) as reserve_used
     from account_bucket where account = $1`,
    [account],
  )
  return row!
}

suite('the bucket of an account in the database', () => {
  test('counts as the arithmetic does', async () => {
    const take = fc.record({ wanted: fc.integer({ min: 0, max: 40 }), isForPerson: fc.boolean() })
    // What came before, as seconds before now: also of a clock that was set back.
    const past = fc.oneof(
      fc.double({ min: -0.5, max: 1.5, noNaN: true }),
      fc.double({ min: -2000, max: 10, noNaN: true }),
    )
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 0, max: 90 }),
      fc.integer({ min: 1, max: 5 }),
      past,
      fc.array(past, { maxLength: 5 }),
      fc.array(take, { minLength: 1, maxLength: 5 }),
      async (perSecond, percent, burst, nextAt, used, takes) => {
        const flow = flowOf({ perSecond, burst }, percent)
        const account = newAccount()
        await database.db.query(
          `insert into account_bucket (account, channel, next_at, reserve_used)
           values ($1, 'email', now() - make_interval(secs => $2),
             array(select now() - make_interval(secs => used) from unnest($3::float8[]) as used))`,
          [account.account, nextAt, used],
        )
        for (const { wanted, isForPerson } of takes) {
          const before = await rowOf(account.account)
          const taken = await takeSlots(database.db, account, flow, wanted, isForPerson)
          const after = await rowOf(account.account)
          const bucket = { nextAt: before.next_at, reserveUsed: before.reserve_used }

          const expected = takeSlotsOf(bucket, flow, after.at, wanted, isForPerson)

          expect(timesOf(taken, flow).length).toBe(expected.slots.length)
          expect(after.next_at).toBeCloseTo(expected.bucket.nextAt, 3)
          expect(after.reserve_used).toEqual(expected.bucket.reserveUsed)
          for (const [index, time] of timesOf(taken, flow).entries()) {
            expect(Math.max(time, 0)).toBeCloseTo(expected.slots[index]! - after.at, 3)
          }
        }
      },
    )
    await fc.assert(property, { numRuns: 40 })
  })

  test('gives three who ask at the same time 30 in a second together, and in no second more', async () => {
    const flow = flowOf({ perSecond: 30 }, 0)
    const account = newAccount()
    await takeSlots(database.db, account, flow, 0, false)
    const seconds = 3

    const taken = await inTurns(3, seconds, () => takenAt(account, flow, maxSlots(flow), false))

    const times = taken.toSorted((a, b) => a - b)
    expect(mostWithin(times, 1)).toBeLessThanOrEqual(30)
    // Whoever is kept from asking for a third of a second loses what he could have had.
    expect(times.length).toBeGreaterThan(seconds * 20)
    expect(times.length).toBeLessThanOrEqual(Math.ceil((seconds + 0.5) * 30))
  })

  test('keeps the reserve from lists of people, and gives it at once to what is for one person', async () => {
    const flow = flowOf({ perSecond: 30 }, 20)
    const account = newAccount()
    const bulk = inTurns(2, 2.5, () => takenAt(account, flow, maxSlots(flow), false))
    const personal: { count: number; latest: number }[] = []
    for (let i = 0; i < 2; i++) {
      const { reserveCount, evenCount } = await takeSlots(database.db, account, flow, 6, true)
      personal.push({ count: reserveCount + evenCount, latest: evenCount })
      await sleep(1010)
    }

    const times = (await bulk).toSorted((a, b) => a - b)

    expect(mostWithin(times, 1)).toBeLessThanOrEqual(24)
    for (const { count } of personal) expect(count).toBe(6)
  })

  test('is written without waiting for the disk, and nothing else is', async () => {
    const account = newAccount()
    const flow = flowOf({ perSecond: 30 }, 20)
    const settingOf = () =>
      database.db.transaction(async (tx) => {
        await takeSlots(tx, account, flow, 1, false)
        return (await tx.query<{ value: string }>(`select current_setting('synchronous_commit') as value`))[0]?.value
      })

    const setting = `select current_setting('synchronous_commit') as value`
    const before = await database.db.query(setting)
    const within = await settingOf()

    expect(within).toBe('off')
    expect(await database.db.query(setting)).toEqual(before)
  })
})

suite('a stopped account', () => {
  test('gives nothing to anybody until its time', async () => {
    const account = newAccount()
    const flow = flowOf({ perSecond: 30 }, 20)

    await stopAccount(database.db, account, 0.3)
    const during = [
      await takeSlots(database.db, account, flow, 5, false),
      await takeSlots(database.db, account, flow, 5, true),
    ]
    await sleep(320)
    const after = await takeSlots(database.db, account, flow, 5, true)

    for (const { evenCount, reserveCount, stoppedSeconds } of during) {
      expect([evenCount, reserveCount]).toEqual([0, 0])
      expect(stoppedSeconds).toBeGreaterThan(0)
    }
    expect(after).toMatchObject({ evenCount: 1, reserveCount: 4, stoppedSeconds: 0 })
  })

  test('is stopped for as long as the longest answer says, and is told of once', async () => {
    const account = newAccount()

    const first = await stopAccount(database.db, account, 100)
    const shorter = await stopAccount(database.db, account, 5)
    const longer = await stopAccount(database.db, account, 200)

    expect([first.isNew, shorter.isNew, longer.isNew]).toEqual([true, false, false])
    expect(shorter.seconds).toBeGreaterThan(99)
    expect(longer.seconds).toBeCloseTo(200, 0)
    expect(await stoppedAccounts(database.db)).toContainEqual({
      ...account,
      seconds: expect.closeTo(200, 0),
      until: expect.stringMatching(/^20\d\d-.+Z$/),
    })
  })

  test('is told of by one of many who hear it at the same time', async () => {
    const account = newAccount()
    await takeSlots(database.db, account, flowOf({ perSecond: 30 }, 20), 1, false)

    const stops = await Promise.all(Array.from({ length: 8 }, () => stopAccount(database.db, account, 60)))

    expect(stops.filter(({ isNew }) => isNew)).toHaveLength(1)
  })

  test('is never stopped for longer than an hour', async () => {
    const account = newAccount()

    const { seconds } = await stopAccount(database.db, account, 1e9)
    await database.db.query(`update account_bucket set stopped_until = 'infinity' where account = $1`, [
      account.account,
    ])
    const stops = await stoppedAccounts(database.db)

    expect(seconds).toBeCloseTo(MAX_STOP_SECONDS, 0)
    expect(stops).toContainEqual(expect.objectContaining({ account: account.account, seconds: MAX_STOP_SECONDS }))
  })

  test('that was stopped before it ever gave anything gives as usual afterwards', async () => {
    const account = newAccount()
    await stopAccount(database.db, account, 0.05)
    await sleep(80)

    const { evenCount } = await takeSlots(database.db, account, flowOf({ perSecond: 30 }, 0), 1, false)

    expect(evenCount).toBe(1)
  })
})

/** When each slot is, in seconds from the moment of taking. */
const timesOf = (
  { evenCount, firstInSeconds, reserveCount }: Awaited<ReturnType<typeof takeSlots>>,
  { intervalSeconds }: Flow,
): number[] =>
  [
    ...Array.from({ length: evenCount }, (_, index) => firstInSeconds + index * intervalSeconds),
    ...Array.from({ length: reserveCount }, () => 0),
  ].toSorted((a, b) => a - b)

/** The slots that one take gave, by the database's clock. */
async function takenAt(
  account: ReturnType<typeof newAccount>,
  flow: Flow,
  wanted: number,
  isForPerson: boolean,
): Promise<number[]> {
  return database.db.transaction(async (tx) => {
    const taken = await takeSlots(tx, account, flow, wanted, isForPerson)
    const [row] = await tx.query<{ at: number }>(
      'select extract(epoch from at)::float8 as at from account_bucket where account = $1',
      [account.account],
    )
    return timesOf(taken, flow).map((time) => row!.at + time)
  })
}

/** Several at once, each again and again. */
async function inTurns(workers: number, seconds: number, take: () => Promise<number[]>): Promise<number[]> {
  const endsAt = performance.now() + seconds * 1000
  const times: number[] = []
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (performance.now() < endsAt) {
        times.push(...(await take()))
        await sleep(30)
      }
    }),
  )
  return times
}
