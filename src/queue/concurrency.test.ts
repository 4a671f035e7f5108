import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, suite, test, vi } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { STATES } from '../core/delivery.ts'
import type { Lane } from '../core/event.ts'
import { idGenerator } from '../core/id.ts'
import type { Db, Queryable } from '../db/db.ts'
import { connect } from '../db/pool.ts'
import { postgresQueue } from './postgres.ts'
import type { Claim, ClaimOptions, Place, Queue, Result } from './queue.ts'
import { recorder } from './recorder.ts'

const nextId = idGenerator(() => 1)
const at = (lane: Lane): Place => ({ channel: 'email', lane })
const HOLD = { email: { onUncertain: 'hold' } } as const

let database: FreshDatabase
let queue: Queue
beforeAll(async () => {
  database = await freshDatabase()
  queue = queueOver(database.db)
})
afterAll(() => database.close())
afterEach(() => vi.restoreAllMocks())
beforeEach(() => database.db.query('truncate event, delivery, ready, lease, intent, dead, attempt_log'))

suite('a result whose answer was lost', () => {
  const again = [
    ['retry', { state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 }, { ready: 1, log: 1, dead: 0 }],
    ['refusal', { state: 'failed', verdict: 'reject', reason: 'no such user' }, { ready: 0, log: 1, dead: 1 }],
    ['postponement', { state: 'postponed', reason: 'away', afterSeconds: 0 }, { ready: 1, log: 0, dead: 0 }],
  ] as const

  test.each(again)('changes nothing when it is recorded again: a %s', async (_, result, expected) => {
    const { leaseId, ids } = await claimed(2)

    // The second delivery keeps the lease alive.
    const first = await queue.finish(leaseId, [{ id: ids[0]!, ...result }])
    const second = await queue.finish(leaseId, [{ id: ids[0]!, ...result }])

    expect([first, second]).toEqual([[ids[0]], []])
    expect(await countsOf(ids[0]!)).toEqual(expected)
  })

  test.each(again)('changes nothing when both are recorded at once: a %s', async (_, result, expected) => {
    const { leaseId, ids } = await claimed(2)

    const ends = await Promise.all(Array.from({ length: 4 }, () => queue.finish(leaseId, [{ id: ids[0]!, ...result }])))

    expect(ends.flat()).toEqual([ids[0]])
    expect(await countsOf(ids[0]!)).toEqual(expected)
  })

  test('does not touch the next attempt, which may be under way', async () => {
    const { leaseId, ids } = await claimed(2)
    const retry: Result = { id: ids[0]!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 }
    await queue.finish(leaseId, [retry])
    const next = await queue.claim(at('retry'), 10)

    await queue.finish(leaseId, [retry])

    expect(idsOf(next)).toEqual([ids[0]])
    expect(await countsOf(ids[0]!)).toEqual({ ready: 0, log: 1, dead: 0 })
    expect(await queue.finish(next!.leaseId, [{ id: ids[0]!, state: 'sent' }])).toEqual([ids[0]])
  })
})

suite('a note to begin that comes late', () => {
  test('begins nothing that the lease has given away', async () => {
    const { leaseId, ids } = await claimed(2)
    await queue.finish(leaseId, [{ id: ids[0]!, state: 'postponed', reason: 'away', afterSeconds: 0 }])

    const allowed = await queue.start(leaseId, ids)

    expect(allowed).toEqual([ids[1]])
  })
})

suite('a note to begin whose answer was lost', () => {
  test('says nothing of what was not begun', async () => {
    const { claim, ids } = await claimed(2)
    const [sent, lost] = ids
    const deaf: Queue['start'] = async (leaseId, started) => {
      const allowed = await queue.start(leaseId, started)
      if (started.includes(lost!)) throw new Error('the connection broke')
      return allowed
    }
    const record = recorder({ ...queue, start: deaf }, claim, { leaseSeconds: 30 })
    await record.start(sent!)
    await expect(record.start(lost!)).rejects.toThrow('broke')
    await record.finish({ id: sent!, state: 'sent' })

    await record.end()

    expect(idsOf(await queue.claim(at('p2p'), 10))).toEqual([lost])
    await endLeases()
    expect(await queue.recover(HOLD)).toMatchObject({ returned: 1, held: 0 })
  })
})

suite('a lease that is taken over', () => {
  test('gives nothing back a second time when its release comes at that moment', async () => {
    const { leaseId, ids } = await claimed(3)
    await endLeases()

    const { claim, late } = await duringTakeover(() => queue.release(leaseId))
    await late

    expect(idsOf(claim)).toEqual(ids)
    expect(await queue.claim(at('p2p'), 10)).toBeNull()
  })

  test('takes no result that comes at that moment', async () => {
    const { leaseId, ids } = await claimed(1)
    await endLeases()

    const { claim, late } = await duringTakeover(() =>
      queue.finish(leaseId, [{ id: ids[0]!, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 }]),
    )

    expect(await late).toEqual([])
    expect(idsOf(claim)).toEqual(ids)
    expect(await countsOf(ids[0]!)).toEqual({ ready: 0, log: 0, dead: 0 })
  })

  test('is left alone while it is being released', async () => {
    const { leaseId, ids } = await claimed(3)
    await endLeases()

    const recovery = await database.db.transaction(async (tx) => {
      await queueWithin(tx).release(leaseId)
      return queue.recover(HOLD)
    })

    expect(recovery.returned).toBe(0)
    expect(idsOf(await queue.claim(at('p2p'), 10))).toEqual(ids)
    expect(await queue.claim(at('p2p'), 10)).toBeNull()
  })

  test('hands out everything once, however many releases meet the takeover', async () => {
    const ids = await add(60)
    const leases: string[] = []
    for (let i = 0; i < 20; i++) leases.push((await queue.claim(at('p2p'), 3))!.leaseId)
    await endLeases()
    const others = Array.from({ length: 3 }, () => queueOver(database.db))
    const handedOut: string[] = []

    const work = Promise.all([queue.recover(HOLD), ...leases.map((leaseId) => queue.release(leaseId))])
    await Promise.all(
      others.map(async (other) => {
        while (handedOut.length < ids.length) handedOut.push(...idsOf(await other.claim(at('p2p'), 5)))
      }),
    )
    await work

    expect(handedOut.toSorted()).toEqual(ids.toSorted())
    expect(await database.db.query('select from ready')).toEqual([])
  })
})

suite('a result that could not be recorded', () => {
  test('is tried again, whatever becomes of the clock on the wall', async () => {
    const { claim, ids } = await claimed(1)
    const finish = vi.spyOn(queue, 'finish').mockImplementationOnce(() => {
      vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000)
      return Promise.reject(new Error('the connection broke'))
    })
    const record = recorder(queue, claim, { leaseSeconds: 30 })

    const isRecorded = await record.finish({ id: ids[0]!, state: 'sent' })
    await record.end()

    expect([isRecorded, finish.mock.calls.length]).toEqual([true, 2])
  })

  test('is recorded when the database is back, also long after the end of the lease', async () => {
    const { claim, ids } = await claimed(1, { asStarted: true })
    let asked = 0
    const away = queueOver(connect('postgres://nobody@127.0.0.1:1/none'))
    const finish: Queue['finish'] = (...given) => ((asked += 1) < 4 ? away.finish(...given) : queue.finish(...given))
    const record = recorder({ ...queue, finish }, claim, { leaseSeconds: 0.1 })
    await record.start(ids[0]!)
    await endLeases()

    const isRecorded = await record.finish({ id: ids[0]!, state: 'sent' })
    await record.end()

    expect(isRecorded).toBe(true)
    expect(await stateOf(ids[0]!)).toBe(STATES.sent)
    expect(await queue.recover(HOLD)).toMatchObject({ held: 0 })
  })

  test('takes nothing from the others, and its delivery goes back to the queue', async () => {
    const { claim, leaseId, ids } = await claimed(2)
    const [lost, sent] = ids
    const record = recorder(losing(lost!), claim, { leaseSeconds: 0.1, signal: AbortSignal.abort() })

    await expect(record.finish({ id: lost!, state: 'sent' })).rejects.toMatchObject({ code: 'unavailable' })
    const isRecorded = await record.finish({ id: sent!, state: 'sent' })
    await record.end()

    expect(isRecorded).toBe(true)
    expect(await stateOf(sent!)).toBe(STATES.sent)
    expect(idsOf(await queue.claim(at('p2p'), 10))).toEqual([lost])
    expect(await database.db.query('select from lease where id = $1', [leaseId])).toEqual([])
  })

  test('leaves its delivery for the takeover to judge, where sending had begun', async () => {
    const { claim, leaseId, ids } = await claimed(2)
    const [lost, sent] = ids
    const record = recorder(losing(lost!), claim, { leaseSeconds: 0.1, signal: AbortSignal.abort() })
    await Promise.all(ids.map((id) => record.start(id)))

    await expect(record.finish({ id: lost!, state: 'sent' })).rejects.toMatchObject({ code: 'unavailable' })
    await record.finish({ id: sent!, state: 'sent' })
    await record.end()
    const keptFor = await database.db.query('select ids from lease where id = $1', [leaseId])
    await endLeases()
    const recovery = await queue.recover(HOLD)

    expect(keptFor).toEqual([{ ids: [lost] }])
    expect(recovery).toMatchObject({ returned: 0, held: 1 })
    expect([await stateOf(lost!), await stateOf(sent!)]).toEqual([STATES.uncertain, STATES.sent])
  })
})

suite('a claim whose answer was lost', () => {
  test.each([true, false])('is given back, and counts as begun no more: as started %s', async (asStarted) => {
    const ids = await add(2)
    const deaf = queueOver({
      ...database.db,
      async query(sql, params) {
        const rows = await database.db.query(sql, params)
        if (sql.includes('insert into lease')) throw new Error('the connection broke')
        return rows as never
      },
    })

    await expect(deaf.claim(at('p2p'), 10, { asStarted })).rejects.toThrow('broke')

    await expect.poll(async () => idsOf(await queue.claim(at('p2p'), 10))).toEqual(ids)
    expect(await countsOf(ids[0]!)).toEqual({ ready: 0, log: 0, dead: 0 })
  })
})

suite('a claim that was taken as started', () => {
  test('is no note to write before the send', async () => {
    const { claim, ids } = await claimed(1, { asStarted: true })
    const record = recorder({ ...queue, start: () => Promise.reject(new Error('asked')) }, claim, { leaseSeconds: 30 })

    const maySend = await record.start(ids[0]!)
    await record.end()

    expect(maySend).toBe(true)
    expect(await database.db.query('select ids from lease where id = $1', [claim.leaseId])).toEqual([{ ids }])
  })

  test('lets its worker send nothing when it was stopped for so long that others took over', async () => {
    const { claim, ids } = await claimed(2, { asStarted: true })
    const stopped = { ...claim, askedAtMs: claim.askedAtMs - 30_000 }
    await endLeases()
    await queue.recover(HOLD)
    const record = recorder(queue, stopped, { leaseSeconds: 30 })

    const maySend = await record.start(ids[0]!)
    await record.end()

    expect(maySend).toBe(false)
  })

  test('goes on when it was stopped for long and nobody had noticed', async () => {
    const { claim, ids } = await claimed(1, { asStarted: true })
    const record = recorder(queue, { ...claim, askedAtMs: claim.askedAtMs - 30_000 }, { leaseSeconds: 30 })

    const maySend = await record.start(ids[0]!)
    await record.finish({ id: ids[0]!, state: 'sent' })
    await record.end()

    expect(maySend).toBe(true)
    expect(await stateOf(ids[0]!)).toBe(STATES.sent)
  })

  test('gives back at its end what was not begun, and nothing else', async () => {
    const { claim, ids } = await claimed(3, { asStarted: true })
    const [begun, idle, sent] = ids
    const record = recorder(queue, claim, { leaseSeconds: 30 })
    await Promise.all([record.start(begun!), record.start(sent!)])
    await record.finish({ id: sent!, state: 'sent' })

    await record.end()

    expect(idsOf(await queue.claim(at('p2p'), 10))).toEqual([idle])
    expect(await database.db.query('select ids from lease where id = $1', [claim.leaseId])).toEqual([{ ids: [begun] }])
  })
})

suite('what another server said', () => {
  test.each([
    ['a zero character', 'no\0 such user', 'no such user'],
    ['half a character', 'no \ud83d such user', 'no \ufffd such user'],
    ['the other half', 'no such user\udc4d', 'no such user\ufffd'],
    ['whole characters', 'нет такого 👍', 'нет такого 👍'],
  ])('is kept, also when it holds %s', async (_, reason, kept) => {
    const { leaseId, ids } = await claimed(2)

    const recorded = await queue.finish(leaseId, [
      { id: ids[0]!, state: 'failed', verdict: 'reject', reason },
      { id: ids[1]!, state: 'sent', providerId: reason },
    ])

    expect(recorded.toSorted()).toEqual(ids)
    const [row] = await database.db.query(
      `select delivery.reason, dead.reason as buried, attempt_log.message as logged
       from delivery join dead on delivery_id = id join attempt_log using (delivery_id) where id = $1`,
      [ids[0]],
    )
    expect(row).toEqual({ reason: kept, buried: kept, logged: kept })
    expect(await database.db.query('select provider_id from delivery where id = $1', [ids[1]])).toEqual([
      { provider_id: kept },
    ])
  })
})

const queueOver = (db: Db): Queue =>
  postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: 30, resendAfterSeconds: 0 })

/** The results of one delivery meet a database that is away until the recorder gives up. */
const losing = (id: string): Queue => {
  const away = queueOver(connect('postgres://nobody@127.0.0.1:1/none'))
  return {
    ...queue,
    finish: (leaseId, results) =>
      results.some((result) => result.id === id) ? away.finish(leaseId, results) : queue.finish(leaseId, results),
  }
}

/** A process whose next statements are not committed yet. */
const queueWithin = (tx: Queryable): Queue =>
  queueOver({ ...database.db, query: <Row>(sql: string, params?: readonly unknown[]) => tx.query<Row>(sql, params) })

async function add(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, nextId)
  await database.db.query(
    `with added as (select nth, id from unnest($1::bigint[]) with ordinality as added(id, nth)),
     e as (
       insert into event (id, event_id, type, event_type_id, payload, lane, priority)
       select id, id, 'job.done', 1, '{"type":"job.done","data":{}}', 0, 1 from added
     ),
     d as (
       insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, run_at)
       select id, id, 1, 'email', 'anna', 0, 1, now() from added
       returning channel, lane, priority, run_at, id
     )
     insert into ready (channel, lane, priority, run_at, id)
     select channel_number(channel), lane, priority, run_at, id from d`,
    [ids],
  )
  return ids
}

async function claimed(
  count: number,
  options?: ClaimOptions,
): Promise<{ claim: Claim; leaseId: string; ids: string[] }> {
  const ids = await add(count)
  const claim = (await queue.claim(at('p2p'), count, options))!
  return { claim, leaseId: claim.leaseId, ids }
}

const idsOf = (claim: Claim | null): string[] => (claim?.deliveries ?? []).map(({ id }) => id)

const endLeases = () => database.db.query(`update lease set until = now() - interval '1 second'`)

/**
 * Runs `late` when another process has taken over all leases and claimed what they held, but has not committed: the
 * statement of `late` reads what was before, and waits.
 */
async function duringTakeover<Output>(
  late: () => Promise<Output>,
): Promise<{ claim: Claim | null; late: Promise<Output> }> {
  return database.db.transaction(async (tx) => {
    const other = queueWithin(tx)
    await other.recover(HOLD)
    const claim = await other.claim(at('p2p'), 10)
    const running = late()
    await expect.poll(waiting, { timeout: 10_000, interval: 10 }).toBe(1)
    return { claim, late: running }
  })
}

async function waiting(): Promise<number> {
  const rows = await database.db.query(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows.length
}

async function countsOf(id: string): Promise<{ ready: number; log: number; dead: number }> {
  const [row] = await database.db.query<{ ready: number; log: number; dead: number }>(
    `select (select count(*) from ready where id = $1)::integer as ready,
       (select count(*) from attempt_log where delivery_id = $1)::integer as log,
       (select count(*) from dead where delivery_id = $1)::integer as dead`,
    [id],
  )
  return row!
}

async function stateOf(id: string): Promise<number | undefined> {
  const [row] = await database.db.query<{ state: number }>('select state from delivery where id = $1', [id])
  return row?.state
}

test('an intent that outlived its lease goes with the next sweep, and that of a live lease stays', async () => {
  const { leaseId, ids } = await claimed(1)
  await queue.start(leaseId, ids)
  await database.db.query('insert into intent (id, lease_id, ids) values ($1, $2, $3)', [nextId(), nextId(), ids])

  await queue.recover(HOLD)

  expect(await database.db.query('select lease_id from intent')).toEqual([{ lease_id: leaseId }])
})

test('a worker whose machine slept begins nothing without asking, though its own clock stood still', async () => {
  const { claim, ids } = await claimed(1, { asStarted: true })
  const record = recorder(queue, claim, { leaseSeconds: 30 })
  await database.db.query(`update lease set until = now() - interval '1 second'`)
  await queue.recover({ email: { onUncertain: 'resend' } })

  const before = Date.now()
  vi.spyOn(Date, 'now').mockImplementation(() => before + 31_000)
  const mayBegin = await record.start(ids[0]!)

  expect(mayBegin).toBe(false)
  await record.end()
})
