import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, onTestFinished, suite, test } from 'vitest'
import { pino } from 'pino'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { Account } from '../core/account.ts'
import { AppError } from '../core/errors.ts'
import type { Lane } from '../core/event.ts'
import type { Db } from '../db/db.ts'
import { connect } from '../db/pool.ts'
import { metrics as openMetrics } from '../metrics.ts'
import type { Accounts } from './accounts.ts'
import { providerAccounts } from './provider-accounts.ts'
import { mostWithin } from '../../test/most-within.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

let keys = 0
const newAccount = (limits: Omit<Account, 'key'> = {}): Account => ({ key: `email:${(keys += 1)}`, ...limits })

/**
 * Another process's view of an account. Counts the statements that it costs; what it reads is `answered` late, and the
 * statement of the number `fails` fails.
 */
function open(
  account: Account | undefined,
  { reservePercent = 20, isShared = false, isDeafAtFirst = false, answered = Promise.resolve(), fails = 0 } = {},
) {
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const own = connect(database.url, { maxConnections: 3 })
  let statements = 0
  let listens = 0
  const db: Db = {
    ...own,
    query: async <Row>(sql: string, params?: readonly unknown[]) => {
      statements += 1
      if (statements === fails) throw new AppError('unavailable', 'The database is overloaded')
      const rows = await own.query<Row>(sql, params)
      if (sql.startsWith('select')) await answered
      return rows
    },
    listen: async (...given) => {
      if (isDeafAtFirst && listens++ === 0) throw new AppError('unavailable', 'The database is overloaded')
      return own.listen(...given)
    },
  }
  const channels = new Map([['email', account === undefined ? {} : { account }]])
  const metrics = openMetrics()
  const accounts = providerAccounts({ db, channels, metrics, log }, { reservePercent, isShared })
  onTestFinished(async () => {
    await accounts.close()
    await own.close()
  })
  return { accounts, metrics, lines, statements: () => statements }
}

const place = (lane: Lane, count: number) => ({ channel: 'email', lane, count })

/** Asks and uses again and again, as a claim loop does; when each was used. */
async function use(accounts: Accounts, lane: Lane, seconds: number, batch = 50): Promise<number[]> {
  const endsAt = performance.now() + seconds * 1000
  const times: number[] = []
  while (performance.now() < endsAt) {
    const { count, retryAfterMs = 0 } = await accounts.grant(place(lane, batch))
    for (let i = 0; i < count; i++) times.push(performance.now())
    await sleep(count > 0 ? 1 : retryAfterMs)
  }
  return times
}

suite('an account without a limit', () => {
  test('costs nothing', async () => {
    const { accounts, statements } = open(newAccount())
    await expect.poll(statements).toBe(1) // Are there stops? Once, at the start.

    const grants = await Promise.all(Array.from({ length: 20 }, () => accounts.grant(place('broadcast', 500))))

    expect(grants).toEqual(Array.from({ length: 20 }, () => ({ count: 500 })))
    expect(accounts.grantNow(place('p2p', 500))).toBe(true)
    expect(statements()).toBe(1)
  })

  test('need not be asked for where there is none', () => {
    const { accounts, statements } = open(undefined)

    expect(accounts.limits('email')).toBe(false)
    expect(accounts.grantNow(place('p2p', 1))).toBe(true)
    expect(statements()).toBe(0)
  })
})

suite('an account with a limit', () => {
  test('gives three processes its rate together', async () => {
    const account = newAccount({ perSecond: 30 })
    const processes = Array.from({ length: 3 }, () => open(account, { reservePercent: 0 }))
    const seconds = 4

    const used = await Promise.all(processes.map(({ accounts }) => use(accounts, 'broadcast', seconds)))

    const times = used.flat().toSorted((a, b) => a - b)
    // On an idle machine 29.5; a busy one lets some slots pass, and brings others close together.
    expect(times.length / seconds).toBeGreaterThan(20)
    expect(times.length / seconds).toBeLessThanOrEqual(30.5)
    expect(mostWithin(times, 1000)).toBeLessThanOrEqual(34)
  })

  test('costs a few statements a second, and none for a person now and then', async () => {
    const { accounts, statements } = open(newAccount({ perSecond: 30 }))
    await use(accounts, 'broadcast', 1)
    const forPeople = statements()

    expect(forPeople).toBeLessThan(20)
    expect(accounts.grantNow(place('p2p', 1))).toBe(true)
  })

  test('gives lists of people no more than their share, whichever lane they wait in', async () => {
    const account = newAccount({ perSecond: 30 })
    const { accounts, metrics } = open(account)

    const [broadcast, retry] = await Promise.all([use(accounts, 'broadcast', 2.5), use(accounts, 'retry', 2.5)])

    const times = [...broadcast, ...retry].toSorted((a, b) => a - b)
    expect(mostWithin(times, 1000)).toBeLessThanOrEqual(27)
    expect(times.length).toBeGreaterThan(2.5 * 16)
    // They take turns.
    expect(Math.abs(broadcast.length - retry.length)).toBeLessThan(times.length / 3)
    const { values } = await metrics.accountTokens.get()
    expect(values).toContainEqual(
      expect.objectContaining({ labels: { account: account.key, lane: 'broadcast' }, value: broadcast.length }),
    )
  })

  test('has something for one person at once, however much it gives to lists of people', async () => {
    const account = newAccount({ perSecond: 30 })
    const [bulk, personal] = [open(account), open(account)]
    const broadcast = use(bulk.accounts, 'broadcast', 2)

    const answers: boolean[] = []
    for (let i = 0; i < 8; i++) {
      await sleep(220)
      answers.push(personal.accounts.grantNow(place('p2p', 1)))
    }

    expect(answers).toEqual(Array.from({ length: 8 }, () => true))
    expect((await broadcast).length).toBeGreaterThan(20)
  })

  test('gives more than the reserve to people when they come, in turn with the others', async () => {
    const account = newAccount({ perSecond: 30 })
    const [bulk, personal] = [open(account), open(account)]

    const [broadcast, p2p] = await Promise.all([
      use(bulk.accounts, 'broadcast', 2.5),
      use(personal.accounts, 'p2p', 2.5, 1),
    ])

    expect(p2p.length).toBeGreaterThan(2.5 * 7)
    expect(
      mostWithin(
        [...p2p, ...broadcast].toSorted((a, b) => a - b),
        1000,
      ),
    ).toBeLessThanOrEqual(34)
  })

  test('gives nothing now that it cannot pay for soon', async () => {
    const { accounts } = open(newAccount({ perSecond: 1 }))

    const answers = Array.from({ length: 5 }, () => accounts.grantNow(place('p2p', 1)))

    expect(answers).toEqual([true, false, false, false, false])
    expect(accounts.grantNow(place('broadcast', 1))).toBe(false)
  })

  test('gives to others what was given back, also to those who are waiting', async () => {
    const { accounts } = open(newAccount({ perSecond: 0.1 }))
    await accounts.grant(place('broadcast', 10))

    const startedAt = performance.now()
    const waiting = accounts.grant(place('retry', 10))
    await sleep(20)
    accounts.giveBack(place('broadcast', 1))

    expect(await waiting).toEqual({ count: 1 })
    expect(performance.now() - startedAt).toBeLessThan(90)
    expect(await accounts.grant(place('retry', 10))).toEqual({ count: 0, retryAfterMs: expect.any(Number) })
  })

  test('lets messages go at even distances, however long each took to prepare', async () => {
    const { accounts } = open(newAccount({ perSecond: 30 }), { reservePercent: 0 })
    const times: number[] = []
    const sending: Promise<unknown>[] = []
    const signal = new AbortController().signal
    while (sending.length < 30) {
      const { count, retryAfterMs = 0 } = await accounts.grant(place('broadcast', 5))
      for (let i = 0; i < count; i++) {
        const prepared = sleep(sending.length % 2 === 0 ? 0 : 30)
        sending.push(
          prepared.then(() => accounts.moment(place('broadcast', 1), signal)).then(() => times.push(performance.now())),
        )
      }
      if (count === 0) await sleep(retryAfterMs)
    }

    await Promise.all(sending)

    const distances = times.toSorted((a, b) => a - b).map((time, n) => time - (times[n - 1] ?? time))
    // One each 34 ms; without the wait every other one would come with its neighbour.
    expect(distances.filter((ms, n) => n > 0 && ms < 15).length).toBeLessThan(8)
  })

  test('keeps no moment for what was given back', async () => {
    const { accounts } = open(newAccount({ perSecond: 0.5 }))
    await accounts.grant(place('broadcast', 1))
    accounts.giveBack(place('broadcast', 1))

    const startedAt = performance.now()
    await accounts.moment(place('broadcast', 1), new AbortController().signal)

    expect(performance.now() - startedAt).toBeLessThan(100)
  })

  test('fails with the database, and goes on with it', async () => {
    const account = newAccount({ perSecond: 30 })
    const { accounts } = open(account)
    await database.db.query('alter table account_bucket rename to gone')

    const failed = accounts.grant(place('broadcast', 1))

    await expect(failed).rejects.toThrow('account_bucket')
    expect(accounts.grantNow(place('p2p', 1))).toBe(true)
    await database.db.query('alter table gone rename to account_bucket')
    await expect.poll(async () => (await accounts.grant(place('broadcast', 1))).count).toBe(1)
  })
})

suite('an account whose provider says wait', () => {
  test('is stopped in all processes, with a limit and without', async () => {
    for (const limits of [{}, { perSecond: 1000 }]) {
      const account = newAccount(limits)
      const [one, other] = [open(account, { isShared: true }), open(account, { isShared: true })]
      await one.accounts.grant(place('broadcast', 10))
      await other.accounts.grant(place('broadcast', 10))

      await one.accounts.stop('email', 60, '421 too much')

      expect(one.accounts.grantNow(place('p2p', 1))).toBe(false)
      expect(await one.accounts.grant(place('broadcast', 1))).toEqual({ count: 0, retryAfterMs: 5000 })
      await expect.poll(() => other.accounts.secondsStopped('email')).toBeGreaterThan(50)
      expect(other.accounts.grantNow(place('p2p', 1))).toBe(false)
      expect(await other.accounts.grant(place('p2p', 1))).toEqual({ count: 0, retryAfterMs: 5000 })
    }
  })

  test('is known to a process that starts meanwhile', async () => {
    const account = newAccount()
    await open(account).accounts.stop('email', 60, '421 too much')

    const later = open(account)

    await expect.poll(() => later.accounts.secondsStopped('email')).toBeGreaterThan(50)
  })

  test('is stopped in all processes, also when the database was away at that moment', async () => {
    const account = newAccount()
    const [one, other] = [open(account), open(account, { isShared: true })]
    await other.accounts.grant(place('broadcast', 1))
    await database.db.query('alter table account_bucket rename to gone')
    await one.accounts.stop('email', 60, '421 too much')
    await database.db.query('alter table gone rename to account_bucket')

    const grant = await one.accounts.grant(place('broadcast', 1))

    expect(grant).toEqual({ count: 0, retryAfterMs: 5000 })
    await expect.poll(() => other.accounts.secondsStopped('email'), { timeout: 5000 }).toBeGreaterThan(50)
    expect(one.accounts.secondsStopped('email')).toBeGreaterThan(50)
  })

  test('is stopped for as long as it said last, also when the database heard only of the first', async () => {
    const account = newAccount()
    const [one, other] = [open(account, { fails: 3 }), open(account, { isShared: true })]
    await expect.poll(one.statements).toBe(1)

    await Promise.all([one.accounts.stop('email', 60, '421 too much'), one.accounts.stop('email', 3600, '421 go away')])

    await expect.poll(() => other.accounts.secondsStopped('email'), { timeout: 5000 }).toBeGreaterThan(3000)
    await one.accounts.grant(place('broadcast', 1))
    expect(one.accounts.secondsStopped('email')).toBeGreaterThan(3000)
  })

  test('is heard of also where nobody could listen at first', async () => {
    const account = newAccount()
    const deaf = open(account, { isShared: true, isDeafAtFirst: true })
    await open(account).accounts.stop('email', 60, '421 too much')

    await expect.poll(() => deaf.accounts.secondsStopped('email'), { timeout: 5000 }).toBeGreaterThan(50)
  })

  test('is not set going by what was read before', async () => {
    const { promise: answered, resolve } = Promise.withResolvers<void>()
    const { accounts, statements } = open(newAccount(), { answered })
    await expect.poll(statements).toBe(1)
    await sleep(50)
    await accounts.stop('email', 60, '421 too much')

    resolve()
    await sleep(20)

    expect(accounts.secondsStopped('email')).toBeGreaterThan(50)
  })

  test('is told of once in the log, whoever hears it', async () => {
    const account = newAccount()
    const processes = [open(account), open(account)]

    await Promise.all(
      processes.flatMap(({ accounts }) => [accounts.stop('email', 30, 'busy'), accounts.stop('email', 20, 'busy')]),
    )

    const lines = processes.flatMap(({ lines }) => lines).map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines).toEqual([expect.objectContaining({ msg: 'provider account stopped', account: account.key })])
    for (const { accounts } of processes) expect(accounts.secondsStopped('email')).toBeGreaterThan(20)
  })

  test('goes on at its time, also when somebody ends the stop by hand', async () => {
    const account = newAccount({ perSecond: 1000 })
    const { accounts } = open(account)

    const granted = async (): Promise<number> => (await accounts.grant(place('broadcast', 1))).count
    await accounts.stop('email', 0.2, 'busy')
    const { count, retryAfterMs } = await accounts.grant(place('broadcast', 1))

    expect(count).toBe(0)
    expect(retryAfterMs).toBeLessThanOrEqual(200)
    await expect.poll(granted).toBe(1)
    await accounts.stop('email', 600, 'busy')
    await database.db.query('update account_bucket set stopped_until = null where account = $1', [account.key])
    await expect.poll(granted).toBe(1)
  })
})
