import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, expect, suite, test, vi } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { addDeliveries } from '../../test/deliveries.ts'
import { STATES } from '../core/delivery.ts'
import { AppError } from '../core/errors.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from '../queue/postgres.ts'
import type { Claim, Queue, Throttle } from '../queue/queue.ts'
import { recorder } from '../queue/recorder.ts'
import { startWorker, type Worker } from './worker.ts'

const STUCK_MS = 1000
const CHANNELS = new Map([
  ['email', { isIdempotent: false, onUncertain: 'hold' as const }],
  ['inbox', { isIdempotent: true, onUncertain: 'hold' as const }],
])

suite('a worker', () => {
  const nextId = idGenerator(() => 1)
  let database: FreshDatabase
  let worker: Worker | undefined
  let letGo: (() => void) | undefined

  beforeAll(async () => {
    database = await freshDatabase()
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    letGo?.()
    await worker?.stop(1)
    worker = undefined
    await database.db.query('truncate event, delivery, ready, lease')
  })
  afterAll(() => database.close())

  function open(): Queue {
    return postgresQueue({ db: database.db, nextId, workerId: randomUUID(), leaseSeconds: 30, isShared: true })
  }
  function start(
    handle: (claim: Claim) => Promise<void>,
    { queue = open(), throttle }: { queue?: Queue; throttle?: Throttle } = {},
  ): void {
    const options = { slots: 2, batchSize: 2, stuckMs: STUCK_MS, ...(throttle && { throttle }) }
    worker = startWorker({ queue, channels: CHANNELS, log: pino({ level: 'silent' }) }, options, handle)
  }

  /** Sends what it claims, and records it as the pipeline does. */
  function startRecording(
    queue: Queue,
    { send, slots = 2, batchSize = slots }: { send: (id: string) => Promise<void>; slots?: number; batchSize?: number },
  ): void {
    const log = pino({ level: 'silent' })
    worker = startWorker({ queue, channels: CHANNELS, log }, { slots, batchSize }, async (claim, _signal, hands) => {
      const record = recorder(queue, claim, { leaseSeconds: 30, next: hands.next })
      await Promise.all(
        claim.deliveries.map(async ({ id }) => {
          await send(id)
          await record.finish({ id, state: 'sent' })
          hands.onOver()
        }),
      )
      await record.end()
    })
  }
  const states = async (): Promise<number[]> => {
    const rows = await database.db.query<{ state: number }>('select state from delivery order by id')
    return rows.map(({ state }) => state)
  }

  test('whose places turn is well, also when there is nothing to do', async () => {
    start(async () => {})

    await sleep(STUCK_MS * 1.5)

    await expect(worker?.check()).resolves.toBeUndefined()
  })

  test('all of whose slots wait for ever is stuck, and says in which place', async () => {
    const never = new Promise<void>((resolve) => {
      letGo = resolve
    })
    await addDeliveries(database.db, nextId, 2)
    start(() => never)

    await expect
      .poll(() => worker?.check().catch((error: Error) => error.message), { timeout: 10_000 })
      .toBe('stopped turning: email p2p')
  })

  test('is not stuck because the clock on the wall was set', async () => {
    start(async () => {})
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000)

    await expect(worker?.check()).resolves.toBeUndefined()
  })

  test('takes no more at once than it has slots for', async () => {
    const ends: (() => void)[] = []
    let [running, most] = [0, 0]
    letGo = () => {
      for (const end of ends.splice(0)) end()
    }
    await addDeliveries(database.db, nextId, 5)
    start(async ({ deliveries }) => {
      running += deliveries.length
      most = Math.max(most, running)
      await new Promise<void>((resolve) => ends.push(resolve))
      running -= deliveries.length
    })

    for (let left = 3; left > 0; left--) {
      await expect.poll(() => ends.length).toBeGreaterThan(0)
      letGo?.()
    }

    expect(most).toBe(2)
  })

  test('lets no channel wait for the slots of another', async () => {
    const never = new Promise<void>((resolve) => {
      letGo = resolve
    })
    const shown: string[] = []
    await addDeliveries(database.db, nextId, 4)
    const ids = await addDeliveries(database.db, nextId, 5, { channel: 'inbox' })

    start(async ({ channel, deliveries }) => {
      if (channel === 'email') return never
      shown.push(...deliveries.map(({ id }) => id))
    })

    await expect.poll(() => shown.toSorted(), { timeout: 10_000 }).toEqual(ids)
    expect(await database.db.query('select from ready')).toHaveLength(2)
  })

  test('leaves what goes over a channel that it does not have to those who have it', async () => {
    const handled: string[] = []
    await addDeliveries(database.db, nextId, 1, { channel: 'pigeon' })
    const [mine] = await addDeliveries(database.db, nextId, 1)

    start(async ({ deliveries }) => void handled.push(...deliveries.map(({ id }) => id)))

    await expect.poll(() => handled, { timeout: 10_000 }).toEqual([mine])
    await sleep(700) // longer than a poll
    expect(handled).toEqual([mine])
    expect(await database.db.query('select from ready')).toHaveLength(1)
  })

  test('claims only where it was told that there is work, and asks once for all places that wait', async () => {
    const real = open()
    const claims: string[] = []
    let polls = 0
    const queue: Queue = {
      ...real,
      claim: (place, limit) => {
        claims.push(`${place.channel} ${place.lane}`)
        return real.claim(place, limit)
      },
      due: (places) => {
        polls += 1
        return real.due(places)
      },
    }
    const handled: string[] = []
    start(async ({ deliveries }) => void handled.push(...deliveries.map(({ id }) => id)), { queue })
    await expect.poll(() => polls, { timeout: 10_000 }).toBeGreaterThan(2)
    const before = [...claims]

    await addDeliveries(database.db, nextId, 1, { channel: 'inbox', lane: 'broadcast' })
    open().wake([{ channel: 'inbox', lane: 'broadcast' }])

    await expect.poll(() => handled, { timeout: 10_000 }).toHaveLength(1)
    expect(before).toEqual([])
    expect(new Set(claims)).toEqual(new Set(['inbox broadcast']))
  })

  test('counts a claim as begun where its channel resends, but not what is tried again', async () => {
    const queue = open()
    const channels = new Map([['email', { isIdempotent: false, onUncertain: 'resend' as const }]])
    const claims: Claim[] = []
    for (const lane of ['p2p', 'broadcast', 'retry'] as const) await addDeliveries(database.db, nextId, 1, { lane })
    worker = startWorker(
      { queue, channels, log: pino({ level: 'silent' }) },
      { slots: 2, batchSize: 2 },
      async (claim) => {
        claims.push(claim)
        await queue.finish(
          claim.leaseId,
          claim.deliveries.map(({ id }) => ({ id, state: 'sent' })),
        )
      },
    )

    await expect.poll(() => claims.length, { timeout: 10_000 }).toBe(3)

    expect(Object.fromEntries(claims.map(({ lane, isStarted }) => [lane, isStarted]))).toEqual({
      p2p: true,
      broadcast: true,
      retry: false,
    })
  })

  test('claims the next along with results, while there is more, and never more than it has slots for', async () => {
    const real = open()
    const [along, alone] = [[] as number[], [] as number[]]
    const queue: Queue = {
      ...real,
      claim: async (place, limit, options) => {
        const claim = await real.claim(place, limit, options)
        alone.push(claim?.deliveries.length ?? 0)
        return claim
      },
      finishAndClaim: async (leaseId, results, next) => {
        const answer = await real.finishAndClaim(leaseId, results, next)
        along.push(answer.claim?.deliveries.length ?? 0)
        return answer
      },
    }
    let [running, most] = [0, 0]
    const ids = await addDeliveries(database.db, nextId, 9)

    startRecording(queue, {
      send: async () => {
        most = Math.max(most, ++running)
        await sleep(5)
        running -= 1
      },
    })

    await expect.poll(states, { timeout: 10_000 }).toEqual(ids.map(() => STATES.sent))
    expect(most).toBe(2)
    expect(along.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(5)
    expect(await database.db.query('select from lease')).toEqual([])
  })

  test('claims along with each of two claims whose results are recorded at the same time', async () => {
    const real = open()
    const alone: number[] = []
    let most = 0
    const queue: Queue = {
      ...real,
      claim: async (place, limit, options) => {
        const claim = await real.claim(place, limit, options)
        if (claim) alone.push(claim.deliveries.length)
        return claim
      },
      finishAndClaim: async (leaseId, results, next) => {
        // The other one comes meanwhile.
        await sleep(5)
        const answer = await real.finishAndClaim(leaseId, results, next)
        const held = await database.db.query('select unnest(ids) from lease')
        most = Math.max(most, held.length)
        return answer
      },
    }
    const ids = await addDeliveries(database.db, nextId, 12)

    startRecording(queue, { send: async () => {}, batchSize: 1 })

    await expect.poll(states, { timeout: 10_000 }).toEqual(ids.map(() => STATES.sent))
    expect(alone).toEqual([1, 1])
    expect(most).toBe(2)
  })

  test.each([
    ['in its place', [{ channel: 'email', lane: 'p2p' } as const]],
    ['somewhere', null],
  ])('hears of work %s that comes while all its slots wait for such a claim', async (_, places) => {
    const real = open()
    const ids = await addDeliveries(database.db, nextId, 4)
    const queue: Queue = {
      ...real,
      due: async () => [], // no poll finds it
      finishAndClaim: async (leaseId, results, next, options) => {
        const answer = await real.finishAndClaim(leaseId, results, next, options)
        if (answer.claim === null && ids.length === 4) {
          ids.push(...(await addDeliveries(database.db, nextId, 1)))
          real.wake(places ?? undefined)
          await sleep(10) // the loop hears of it
        }
        return answer
      },
    }

    startRecording(queue, { send: async () => {} })
    real.wake([{ channel: 'email', lane: 'p2p' }])

    await expect.poll(async () => (await states()).length).toBe(5)
    await expect.poll(states).toEqual(ids.map(() => STATES.sent))
  })

  test('does not claim for every few results that come by themselves', async () => {
    const real = open()
    const wanted: number[] = []
    const queue: Queue = {
      ...real,
      finishAndClaim: (leaseId, results, next) => {
        wanted.push(next.limit)
        return real.finishAndClaim(leaseId, results, next)
      },
    }
    const ids = await addDeliveries(database.db, nextId, 60)
    let begun = 0

    startRecording(queue, { send: () => sleep(10 * (begun++ % 10)), slots: 10 })

    await expect.poll(states, { timeout: 10_000 }).toEqual(ids.map(() => STATES.sent))
    expect(wanted.filter((limit) => limit < 5)).toEqual([])
  })

  test('loses nothing when such an answer is lost, and records nothing twice', async () => {
    const real = open()
    let lost = 0
    const queue: Queue = {
      ...real,
      finishAndClaim: async (leaseId, results, next) => {
        const answer = await real.finishAndClaim(leaseId, results, next)
        if (++lost > 2) return answer
        // As the queue does it when the database's answer does not come.
        if (answer.claim) await real.release(answer.claim.leaseId)
        throw new AppError('unavailable', 'the connection broke')
      },
    }
    const sent: string[] = []
    const ids = await addDeliveries(database.db, nextId, 9)

    startRecording(queue, { send: async (id) => void sent.push(id) })

    await expect.poll(states, { timeout: 15_000 }).toEqual(ids.map(() => STATES.sent))
    expect(lost).toBeGreaterThan(1)
    expect(sent.toSorted()).toEqual(ids.toSorted())
    expect(await database.db.query('select distinct attempt from delivery')).toEqual([{ attempt: 1 }])
  })

  test('claims as many as its throttle grants, and gives back what it did not need', async () => {
    const asked: unknown[] = []
    const unused: number[] = []
    const grants = [{ count: 0, retryAfterMs: 1 }, { count: 1 }, { count: 2 }]
    const throttle: Throttle = {
      limits: (channel) => channel === 'email',
      grant: async (wanted) => {
        asked.push(wanted)
        return grants.shift() ?? { count: 0, retryAfterMs: 60_000 }
      },
      grantNow: () => false,
      giveBack: ({ count }) => unused.push(count),
    }
    const handled: number[] = []
    await addDeliveries(database.db, nextId, 2)
    await addDeliveries(database.db, nextId, 1, { channel: 'inbox' })

    start(async ({ channel, deliveries }) => void (channel === 'email' && handled.push(deliveries.length)), {
      throttle,
    })

    await expect.poll(() => handled, { timeout: 10_000 }).toEqual([1, 1])
    await expect.poll(() => unused).toEqual([1])
    expect(asked.slice(0, 3)).toEqual(Array.from({ length: 3 }, () => ({ channel: 'email', lane: 'p2p', count: 2 })))
    expect(worker?.instant.reserve('email', 1)).toBe(false)
    expect(worker?.instant.reserve('inbox', 1)).toBe(true)
    worker?.instant.release('inbox', 1)
  })
})
