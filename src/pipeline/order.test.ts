import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { CLEAR, pipeline, putTypes, violations, type Pipeline } from '../../test/pipeline.ts'
import { DeliveryError } from '../core/errors.ts'
import type { Event } from '../core/event.ts'
import { uuidOf } from '../core/id.ts'
import { oneAtATime } from '../core/one-at-a-time.ts'
import { connect } from '../db/pool.ts'
import { queueHealth } from '../store/queue-health.ts'
import { deliveriesOf } from '../store/event-status.ts'
import { eventById } from '../store/find-event.ts'
import { cancelByKey, cancelEvent } from './cancel.ts'
import { retryLetter } from './dead-letter.ts'
import { deliver } from './deliver.ts'
import { withdrawWaiting } from './withdraw.ts'
import { startWorker } from './worker.ts'

const TOMORROW = new Date(Date.now() + 86_400_000).toISOString()
const MAIL = { channel: 'mail', lane: 'p2p' } as const
const RETRIES = { channel: 'mail', lane: 'retry' } as const
const HOLD = { mail: { onUncertain: 'hold' } } as const

let database: FreshDatabase
let steps: Pipeline
/** Another process, whose clock is an hour behind: its row ids are lower. */
let late: Pipeline
beforeAll(async () => {
  database = await freshDatabase()
  steps = pipeline(database.db)
  late = pipeline(database.db, { processNumber: 2, clock: () => Date.now() - 3_600_000 })
  await putTypes(database.db, [
    { type: 'message', recipients: { path: 'user_id' }, channels: ['mail'], ordering_path: 'data.thread' },
    { type: 'shared', recipients: { path: 'data.user_ids' }, channels: ['mail', 'hook'] },
  ])
})
beforeEach(async () => {
  steps.sent.length = 0
  late.sent.length = 0
  await database.db.query(CLEAR)
})
afterAll(async () => {
  await steps.close()
  await late.close()
  await database.close()
})

const event = (id: string, change: Partial<Event> = {}): Partial<Event> => ({
  id,
  title: id,
  ordering_key: 'chat',
  ...change,
})
const acceptAll = async (ids: string, changes: Record<string, Partial<Event>> = {}) => {
  for (const id of ids) await steps.accept(event(id, changes[id]))
}
const count = async (table: string): Promise<number> => {
  const [row] = await database.db.query<{ count: number }>(`select count(*)::integer as count from ${table}`)
  return row!.count
}
const statusOf = async (eventId: string) => {
  const { row_id: rowId } = await eventById(database.db, '', eventId)
  return (await deliveriesOf(database.db, rowId))[0]!
}
const sentMails = () => steps.sent.map((line) => line.split(' ')[2]).join('')
const endLeases = () => database.db.query(`update lease set until = now() - interval '1 second'`)

suite('events with an ordering key', () => {
  test('are in the queue one at a time, and go out in the order in which they were accepted', async () => {
    await acceptAll('abc')
    await steps.accept(event('x', { ordering_key: 'other' }))
    await steps.accept(event('y', { user_id: 'boris' }))
    await steps.accept({ id: 'z', title: 'z' })

    expect([await count('ready'), await count('thread_waiting')]).toEqual([4, 2])
    expect(await statusOf('b')).toMatchObject({ status: 'PENDING', waits_for_turn: true, run_at: null })
    expect(await statusOf('a')).toMatchObject({ status: 'PENDING', waits_for_turn: false, run_at: expect.any(String) })
    expect(await queueHealth(database.db)).toMatchObject({ ready: 4, waiting: 2 })
    expect(await violations(database.db)).toEqual([])
    const claim = (await steps.ports.queue.claim(MAIL, 10))!
    await steps.deliver(claim)
    expect(sentMails()).toBe('axyz')
    await steps.deliverDue()

    expect(sentMails()).toBe('axyzbc')
    expect([await count('thread'), await count('thread_waiting'), await count('ready')]).toEqual([0, 0, 0])
    expect(await violations(database.db)).toEqual([])
  })

  test('wait for no turn once they are cancelled or superseded, also before that is carried out', async () => {
    await acceptAll('abc', { a: { send_after: TOMORROW }, b: { collapse_key: 'k' }, c: { cancellation_key: 'k' } })

    await steps.accept(event('d', { collapse_key: 'k' }))
    await database.db.query(`insert into cancellation (company_id, cancellation_key, at) values ('', 'k', now())`)

    expect(await statusOf('b')).toMatchObject({ status: 'SKIPPED', waits_for_turn: false })
    expect(await statusOf('c')).toMatchObject({ status: 'CANCELLED', waits_for_turn: false })
    expect(await statusOf('d')).toMatchObject({ status: 'PENDING', waits_for_turn: true })
  })

  test('keep that order whatever the clocks of the processes say, also within a batch', async () => {
    for (const [index, id] of ['a', 'b', 'c', 'd'].entries()) await (index % 2 === 0 ? late : steps).accept(event(id))
    await late.acceptBatch([event('e'), event('f')])
    await steps.acceptBatch([event('g'), event('h')])

    await steps.deliverDue()

    expect(sentMails()).toBe('abcdefgh')
  })

  test('keep it over each channel by itself', async () => {
    for (const id of ['a', 'b']) await steps.accept(event(id, { type: 'both' }))
    const mail = (await steps.ports.queue.claim(MAIL, 10))!

    for (let turn = 0; turn < 2; turn++) {
      await steps.deliver((await steps.ports.queue.claim({ channel: 'inbox', lane: 'p2p' }, 10))!)
    }

    expect(steps.sent).toEqual(['inbox anna a', 'inbox anna b'])
    await steps.deliver(mail)
    await steps.deliverDue()
    expect(steps.sent.slice(2)).toEqual(['mail anna a', 'mail anna b'])
  })

  test('may be told by their type', async () => {
    for (const title of ['a', 'b']) await steps.accept({ type: 'message', title, data: { thread: 7 } })

    expect(await count('thread_waiting')).toBe(1)
  })

  test('are due when their turn comes, however long ago they were accepted', async () => {
    await acceptAll('ab')
    await database.db.query(
      `update delivery set run_at = now() - interval '1 hour' where id in (select delivery_id from thread_waiting)`,
    )
    await steps.deliver((await steps.ports.queue.claim(MAIL, 10))!)

    // At once: a claim looks little behind what it has seen.
    const next = (await steps.ports.queue.claim(MAIL, 10))!

    await steps.deliver(next)
    expect(sentMails()).toBe('ab')
  })

  test('wait for another attempt of the one before them', async () => {
    await acceptAll('ab')
    const claim = (await steps.ports.queue.claim(MAIL, 10))!
    await steps.ports.queue.finish(claim.leaseId, [
      { id: claim.deliveries[0]!.id, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 3600 },
    ])

    expect(await steps.deliverDue()).toBe(0)
    await database.db.query('update delivery set run_at = now() where attempt = 1')
    await database.db.query('update ready set run_at = now()')
    await steps.deliverDue()

    expect(sentMails()).toBe('ab')
    expect(await violations(database.db)).toEqual([])
  })

  test.each([
    ['failed', { state: 'failed', verdict: 'reject', reason: 'no such user' }],
    ['in doubt, and held', { state: 'uncertain', reason: 'silence' }],
    ['skipped', { state: 'skipped', reason: 'no_address' }],
    ['expired', { state: 'expired' }],
    ['cancelled', { state: 'cancelled' }],
  ] as const)('go on when the one before them is %s', async (_, result) => {
    await acceptAll('ab')
    const claim = (await steps.ports.queue.claim(MAIL, 10))!
    await steps.ports.queue.finish(claim.leaseId, [{ id: claim.deliveries[0]!.id, ...result }])

    await steps.deliverDue()

    expect(sentMails()).toBe('b')
    expect(await count('thread')).toBe(0)
  })

  test('wait for the time of the one before them, and for nobody behind', async () => {
    await acceptAll('abc', { b: { send_after: TOMORROW } })

    await steps.deliverDue()

    expect(sentMails()).toBe('a')
    expect(await statusOf('b')).toMatchObject({ waits_for_turn: false, run_at: TOMORROW })
    expect(await statusOf('c')).toMatchObject({ waits_for_turn: true })
    await cancelEvent(steps.ports, '', 'b')
    await steps.deliverDue()
    expect(sentMails()).toBe('ac')
    expect(await violations(database.db)).toEqual([])
  })

  test('close up where one in the middle is cancelled', async () => {
    await acceptAll('abcd')

    expect(await cancelEvent(steps.ports, '', 'b')).toBe(1)
    expect(await violations(database.db)).toEqual([])
    await steps.deliverDue()

    expect(sentMails()).toBe('acd')
  })

  test('are cancelled together, head and all, and those behind them go', async () => {
    const ids = Array.from({ length: 150 }, (_, index) => `e${index}`)
    for (const id of ids) await steps.accept(event(id, { cancellation_key: 'chat', send_after: TOMORROW }))
    await steps.accept(event('z'))

    expect(await cancelByKey(steps.ports, '', 'chat')).toEqual({ events: null, deliveries: null })
    await withdrawWaiting(steps.ports)
    await steps.deliverDue()

    expect(sentMails()).toBe('z')
    expect(await violations(database.db)).toEqual([])
  })

  test('are superseded in their threads, and hold up nobody there', async () => {
    await acceptAll('ab', { a: { collapse_key: 'k', send_after: TOMORROW } })
    await acceptAll('c', { c: { collapse_key: 'k' } })

    await withdrawWaiting(steps.ports)
    await steps.deliverDue()

    expect(sentMails()).toBe('bc')
    expect(await violations(database.db)).toEqual([])
  })

  test('are live while they wait: nothing of them is dropped', async () => {
    await acceptAll('ab')

    const rows = await database.db.query('select id from live_delivery join thread_waiting on delivery_id = id')

    expect(rows).toHaveLength(1)
  })

  test('go on after the worker of the one before them died: it goes first, or is for a person', async () => {
    await acceptAll('abc')
    const idle = (await steps.ports.queue.claim(MAIL, 10))!
    await endLeases()
    await steps.ports.queue.recover(HOLD)
    const begun = (await steps.ports.queue.claim(MAIL, 10))!
    await steps.ports.queue.start(begun.leaseId, [begun.deliveries[0]!.id])
    await endLeases()
    await steps.ports.queue.recover(HOLD)

    await steps.deliverDue()

    expect(idle.deliveries[0]!.id).toBe(begun.deliveries[0]!.id)
    expect(sentMails()).toBe('bc')
    expect(await statusOf('a')).toMatchObject({ status: 'UNCERTAIN' })
    expect(await violations(database.db)).toEqual([])
  })

  test('that a person sends again go at once, and give nobody a turn', async () => {
    await acceptAll('abc')
    const claim = (await steps.ports.queue.claim(MAIL, 10))!
    await steps.ports.queue.finish(claim.leaseId, [
      { id: claim.deliveries[0]!.id, state: 'failed', verdict: 'reject', reason: 'no such user' },
    ])
    const held = (await steps.ports.queue.claim(MAIL, 10))!

    await retryLetter(steps.ports, { companyId: '', keyId: 'k' }, uuidOf(claim.deliveries[0]!.id), { template: 'same' })
    await steps.deliver((await steps.ports.queue.claim(RETRIES, 10))!)

    expect(sentMails()).toBe('a')
    expect([await count('ready'), await count('thread_waiting')]).toEqual([0, 1])
    await steps.deliver(held)
    await steps.deliverDue()
    expect(sentMails()).toBe('abc')
  })

  test('are not lost where their turn comes as they are accepted', async () => {
    await acceptAll('a')
    const claim = (await steps.ports.queue.claim(MAIL, 10))!

    await database.db
      .transaction(async (tx) => {
        // Has its place, and is not committed.
        await tx.query(`update thread set last_place = last_place`)
        const ended = steps.deliver(claim)
        const accepted = steps.accept(event('b'))
        await expect
          .poll(
            () =>
              database.db.query(
                `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
              ),
            { timeout: 10_000 },
          )
          .toHaveLength(2)
        return { ended, accepted }
      })
      .then(({ ended, accepted }) => Promise.all([ended, accepted]))

    await steps.deliverDue()

    expect(sentMails()).toBe('ab')
    expect(await count('thread')).toBe(0)
  })
})

suite('under load', () => {
  test('2,000 events over 20 threads arrive in order, whatever fails, and nobody is left waiting', async () => {
    const THREADS = 20
    const EVENTS = 100
    const received = new Map<string, number[]>()
    const chance = randomNumbers(7)
    const send: Parameters<typeof pipeline>[1] = {
      leaseSeconds: 2,
      send: async (_, { event: { data } }) => {
        const { thread, n } = data as { thread: string; n: number }
        await sleep(chance() * 3)
        const luck = chance()
        if (luck < 0.1) throw new DeliveryError('retry', 'busy')
        if (luck < 0.12) throw new DeliveryError('reject', 'no')
        const list = received.get(thread) ?? []
        received.set(thread, list)
        list.push(n)
        if (luck < 0.15) throw new Error('silence')
        return {}
      },
    }
    const db = connect(database.url, { maxConnections: 24 })
    const processes = [1, 2, 3].map((n) => pipeline(db, { processNumber: n, ...send }))
    const workers = processes.map(({ ports }) =>
      startWorker(ports, { slots: 10, batchSize: 10 }, (claim, signal, onOver) =>
        deliver(ports, { ...OPTIONS, leaseSeconds: 2 }, claim, signal, onOver),
      ),
    )
    const isOver = new AbortController()
    const sweeping = (async () => {
      while (!isOver.signal.aborted) {
        await processes[0]!.ports.queue.recover({ mail: { onUncertain: 'resend' } })
        // A worker that takes something, and is never heard of again.
        if (chance() < 0.2) await processes[2]!.ports.queue.claim(MAIL, 2)
        await sleep(100)
      }
    })()

    await Promise.all(
      Array.from({ length: THREADS }, async (_, thread) => {
        const id = (n: number) =>
          event(`${thread}-${n}`, { data: { thread: `t${thread}`, n }, ordering_key: `t${thread}` })
        for (let n = 0; n < EVENTS;) {
          const process = processes[(n + thread) % 3]!
          if (n % 10 === 7 && n + 3 <= EVENTS) {
            await process.acceptBatch([id(n), id(n + 1), id(n + 2)])
            n += 3
            continue
          }
          await process.accept(id(n))
          n += 1
        }
      }),
    )
    await expect.poll(() => count('delivery where state = 0'), { timeout: 90_000, interval: 200 }).toBe(0)
    isOver.abort()
    await sweeping
    await Promise.all(workers.map((worker) => worker.stop(10)))
    const [{ deadlocks }] = (await db.query<{ deadlocks: number }>(
      'select deadlocks::integer from pg_stat_database where datname = current_database()',
    )) as [{ deadlocks: number }]
    await Promise.all(processes.map((one) => one.close()))
    await db.close()

    expect([...received.values()].filter((list) => !isSorted(list))).toEqual([])
    expect(received.size).toBe(THREADS)
    expect([...received.values()].flat().length).toBeGreaterThan(THREADS * EVENTS * 0.9)
    expect([await count('thread'), await count('thread_waiting'), await count('ready')]).toEqual([0, 0, 0])
    expect(deadlocks).toBe(0)
    expect(await violations(database.db)).toEqual([])
  }, 180_000)

  test('events for many people at once neither lock each other up nor lose one', async () => {
    const user_ids = Array.from({ length: 20 }, (_, index) => `user-${index}`)
    const processes = [steps, late]
    const isOver = new AbortController()
    const working = processes.map(async (one) => {
      while (!isOver.signal.aborted) {
        await one.deliverDue()
        await sleep(1)
      }
    })
    const [before] = await deadlocks()

    for (let round = 0; round < 10; round++) {
      await Promise.all(
        Array.from({ length: 6 }, (_, n) =>
          processes[n % 2]!.accept({
            type: 'shared',
            title: `${round}-${n}`,
            ordering_key: `k${n % 2}`,
            user_id: undefined as unknown as string,
            data: { user_ids: n % 3 === 0 ? user_ids.toReversed() : user_ids },
          }),
        ),
      )
    }
    await expect.poll(() => count('delivery where state = 0'), { timeout: 60_000, interval: 100 }).toBe(0)
    isOver.abort()
    await Promise.all(working)

    expect(steps.sent.length + late.sent.length).toBe(10 * 6 * 20 * 2)
    expect(await count('thread')).toBe(0)
    expect(await deadlocks()).toEqual([before])
    expect(await violations(database.db)).toEqual([])
  }, 120_000)
})

const OPTIONS = {
  defaultLocale: 'en',
  publicUrl: () => 'http://localhost',
  sendTimeoutSeconds: 30,
  uncertainResendSeconds: 0,
  alone: oneAtATime(),
}

const deadlocks = () =>
  database.db.query('select deadlocks::integer from pg_stat_database where datname = current_database()')

const isSorted = (list: number[]): boolean => list.every((n, index) => index === 0 || list[index - 1]! <= n)

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
