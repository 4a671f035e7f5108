import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import {
  connectClient,
  liveFrame,
  readyClient,
  seqsOf,
  startGateway,
  tokenOf,
  writeNotification,
  type RunningGateway,
} from '../../test/gateway.ts'
import { postgresBus } from '../bus/postgres.ts'
import { connect } from '../db/pool.ts'
import type { JsonObject } from '../core/json.ts'

let database: FreshDatabase
/** What each test opened. */
let stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  database = await freshDatabase()
})
afterEach(async () => {
  for (const stop of stops) await stop()
  stops = []
})
afterAll(() => database.close())

const start = async (options: Parameters<typeof startGateway>[1] = {}): Promise<RunningGateway> => {
  const one = await startGateway(database.db, options)
  stops.push(one.stop)
  return one
}

const write = (userId: string, more: { title?: string; body?: string } = {}) =>
  writeNotification(database.db, { userId, ...more })

const typesAndSeqs = (frames: JsonObject[]) =>
  frames
    .filter(({ type }) => type !== 'unread_count' && type !== 'pong')
    .map((one) => {
      const data = one['data'] as { seq?: number; notification?: { seq: number } }
      return [one['type'], data.notification?.seq ?? data.seq]
    })

suite('a client that comes back', () => {
  test('gets what it missed, then what happens now', async () => {
    const one = await start()
    for (let count = 0; count < 5; count++) await write('back')
    const client = await readyClient(one, 'back')

    client.send({ type: 'resume', since: 2 })
    await client.frame('resumed')
    await one.bus.publish(liveFrame(await write('back'), 'back'))
    await client.frame('notification', 4)

    expect(typesAndSeqs(client.frames)).toEqual([
      ['ready', 5],
      ['notification', 3],
      ['notification', 4],
      ['notification', 5],
      ['resumed', 5],
      ['notification', 6],
    ])
    expect(client.all('notification').map(({ replayed }) => replayed)).toEqual([true, true, true, undefined])
  })

  test('gets the present state of what changed several times, once', async () => {
    const one = await start()
    const [first] = [await write('state'), await write('state')]
    const client = await readyClient(one, 'state')
    client.send({ type: 'read', id: first.id })
    await client.frame('notification_updated')

    const again = await readyClient(one, 'state')
    again.send({ type: 'resume', since: 0 })
    await again.frame('resumed')

    expect(typesAndSeqs(again.frames)).toEqual([
      ['ready', 3],
      ['notification', 2],
      ['notification_updated', 3],
      ['resumed', 3],
    ])
  })

  test('is told to reload when it is ahead of the inbox', async () => {
    const one = await start()
    await write('ahead')
    const client = await readyClient(one, 'ahead')

    client.send({ type: 'resume', since: 99 })

    expect(await client.frame('reset')).toEqual({ type: 'reset', data: { seq: 1 } })
    await one.bus.publish(liveFrame(await write('ahead'), 'ahead'))
    expect(seqsOf([await client.frame('notification')])).toEqual([2])
  })

  test('is told to reload when it missed too much, and another one is not', async () => {
    const one = await start({ limits: { replayMax: 10 } })
    for (let count = 0; count < 20; count++) await write('much')
    const [far, near] = [await readyClient(one, 'much'), await readyClient(one, 'much')]

    far.send({ type: 'resume', since: 9 })
    near.send({ type: 'resume', since: 10 })

    expect(await far.frame('reset')).toEqual({ type: 'reset', data: { seq: 20 } })
    expect(await near.frame('resumed')).toEqual({ type: 'resumed', data: { seq: 20 } })
    expect(seqsOf(near.all('notification'))).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
  })

  test('may ask with the token, before it was greeted', async () => {
    const { url } = await start()
    await write('eager')
    const token = await tokenOf('eager')

    const client = connectClient(url)
    client.socket.on('open', () => {
      client.send({ type: 'auth', token })
      client.send({ type: 'resume', since: 0 })
    })

    await client.frame('resumed')
    expect(typesAndSeqs(client.frames)).toEqual([
      ['ready', 1],
      ['notification', 1],
      ['resumed', 1],
    ])
  })

  test('misses nothing and gets nothing twice while changes pour in', async () => {
    const one = await start()
    const writing = (async () => {
      for (let count = 0; count < 150; count++) await one.bus.publish(liveFrame(await write('pour'), 'pour'))
    })()

    const seqs: number[] = []
    let cursor = 0
    while (cursor < 150) {
      const client = connectClient(`${one.url}?token=${await tokenOf('pour')}`)
      client.socket.on('open', () => client.send({ type: 'resume', since: cursor }))
      await client.frame('resumed')
      await new Promise((resolve) => setTimeout(resolve, 20))
      client.socket.close()
      await client.closed
      // Live frames between `ready` and the replay are repeated by it: what counts is that a client can tell.
      const fresh = [...new Set(seqsOf(client.all('notification')))]
        .filter((seq) => seq > cursor)
        .toSorted((a, b) => a - b)
      seqs.push(...fresh)
      cursor = fresh.at(-1) ?? cursor
    }
    await writing

    expect(seqs).toEqual(Array.from({ length: 150 }, (_, index) => index + 1))
  })
})

suite('a change whose frame the bus lost', () => {
  test('is read from the database when the next frame shows the gap', async () => {
    const one = await start()
    const clients = [await readyClient(one, 'gap'), await readyClient(one, 'gap')]

    await write('gap')
    await write('gap')
    await one.bus.publish(liveFrame(await write('gap'), 'gap'))

    for (const client of clients) {
      await client.frame('resumed')
      expect(typesAndSeqs(client.frames)).toEqual([
        ['ready', 0],
        ['notification', 1],
        ['notification', 2],
        ['notification', 3],
        ['resumed', 3],
      ])
    }
  })

  test('is found by the heartbeat when nothing follows', async () => {
    const one = await start({ limits: { heartbeatSeconds: 0.2 } })
    const client = await readyClient(one, 'lost')

    await write('lost')

    expect(seqsOf([await client.frame('notification')])).toEqual([1])
    expect(await client.frame('unread_count')).toEqual({ type: 'unread_count', data: { count: 1 } })
  })

  test('is read when the frame was too large for the bus', async () => {
    const one = await start()
    const client = await readyClient(one, 'large')

    await one.bus.publish({ ...liveFrame(await write('large', { body: 'x'.repeat(9_000) }), 'large'), frame: null })

    expect(seqsOf([await client.frame('notification')])).toEqual([1])
  })

  test('is not sent again when its frame comes late, or twice', async () => {
    const one = await start()
    const client = await readyClient(one, 'late')
    const first = await write('late')
    const second = await write('late')

    await one.bus.publish(liveFrame(second, 'late'))
    await client.frame('resumed')
    await one.bus.publish(liveFrame(first, 'late'))
    await one.bus.publish(liveFrame(second, 'late'))
    await one.bus.publish(liveFrame(await write('late'), 'late'))

    await client.frame('notification', 3)
    expect(seqsOf(client.all('notification'))).toEqual([1, 2, 3])
  })

  test('waits for a database that is away', async () => {
    let isAway = false
    const { db } = database
    const flaky = {
      ...db,
      query: <Row>(sql: string, params?: readonly unknown[]) =>
        isAway ? Promise.reject(new Error('away')) : db.query<Row>(sql, params),
    }
    const one = await startGateway(flaky, { limits: { tickMs: 20 } })
    stops.push(one.stop)
    const client = await readyClient(one, 'patient')

    isAway = true
    await write('patient')
    await one.bus.publish(liveFrame(await write('patient'), 'patient'))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(client.all('notification')).toEqual([])
    isAway = false

    await client.frame('notification', 2)
    expect(seqsOf(client.all('notification'))).toEqual([1, 2])
  })
})

suite('what happens while the inbox is being read', () => {
  test('by a new session is not missed by it', async () => {
    const { db, hold, held } = holding('select head from inbox')
    const one = await startGateway(db)
    stops.push(one.stop)
    hold()
    const client = connectClient(`${one.url}?token=${await tokenOf('joining')}`)
    await expect.poll(() => held.waiting).toBe(1)

    await one.bus.publish(liveFrame(await write('joining'), 'joining'))
    await new Promise(setImmediate)
    held.release()

    expect(seqsOf([await client.frame('notification')])).toEqual([1])
  })

  test('by a session that catches up is not missed by it', async () => {
    const { db, hold, held } = holding('known')
    const one = await startGateway(db)
    stops.push(one.stop)
    const client = await readyClient(one, 'catching')
    hold()
    await write('catching')
    await one.bus.publish(liveFrame(await write('catching'), 'catching'))
    await expect.poll(() => held.waiting).toBe(1)

    await one.bus.publish(liveFrame(await write('catching'), 'catching'))
    await new Promise(setImmediate)
    held.release()

    await client.frame('notification', 3)
    expect(seqsOf(client.all('notification'))).toEqual([1, 2, 3])
  })

  test('is told to each session by what that one misses', async () => {
    const { db, hold, held } = holding('known')
    const one = await startGateway(db, { limits: { replayMax: 10 } })
    stops.push(one.stop)
    for (let count = 0; count < 20; count++) await write('mixed')
    const [first, far, near, ahead] = await Promise.all([1, 2, 3, 4].map(() => readyClient(one, 'mixed')))
    hold()
    first!.send({ type: 'resume', since: 19 })
    await expect.poll(() => held.waiting).toBe(1)

    for (const [client, since] of [
      [far!, 9],
      [near!, 10],
      [ahead!, 21],
    ] as const) {
      client.send({ type: 'resume', since })
      client.send({ type: 'ping' })
      await client.frame('pong')
    }
    held.release()

    await Promise.all([first!.frame('resumed'), far!.frame('reset'), near!.frame('resumed'), ahead!.frame('reset')])
    expect([first!, far!, near!, ahead!].map((client) => seqsOf(client.all('notification')))).toEqual([
      [20],
      [],
      [11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
      [],
    ])
  })
})

suite('two gateways on one database', () => {
  test('show each other’s changes, also after their connection for listening broke', async () => {
    const pools = [connect(database.url), connect(database.url)] as const
    const [here, there] = [await start({ bus: postgresBus(pools[0]) }), await start({ bus: postgresBus(pools[1]) })]
    const clients = [await readyClient(here, 'both'), await readyClient(there, 'both')]

    await here.bus.publish(liveFrame(await write('both'), 'both'))
    await here.bus.publish(liveFrame(await write('both', { body: 'x'.repeat(9_000) }), 'both'))
    for (const client of clients) await client.frame('notification', 2)
    await database.db.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'eventcenter listen'`,
    )
    await write('both') // while nobody listens

    for (const client of clients) {
      await client.frame('notification', 3)
      expect(seqsOf(client.all('notification'))).toEqual([1, 2, 3])
    }
    stops.push(...pools.map((pool) => () => pool.close()))
  })
})

suite('a client that does not read', () => {
  /** More than the buffers of both kernels hold. */
  const FRAMES = 450
  const body = 'я'.repeat(16_000)

  test('costs little memory, and gets the rest when it reads again', async () => {
    const one = await start({ limits: { lagSeconds: 30 } })
    const slow = await readyClient(one, 'slow')
    const quick = await readyClient(one, 'slow')
    slow.socket.pause()

    for (let count = 0; count < FRAMES; count++) await one.bus.publish(liveFrame(await write('slow', { body }), 'slow'))

    await expect.poll(() => quick.all('notification').length, { timeout: 10_000 }).toBe(FRAMES)
    const sentBefore = await sent(one)
    expect(sentBefore).toBeLessThan(FRAMES * 2 - 100)
    slow.socket.resume()
    await slow.frame('resumed')
    await expect.poll(() => slow.all('notification').length, { timeout: 10_000 }).toBe(FRAMES)
    expect(seqsOf(slow.all('notification'))).toEqual(Array.from({ length: FRAMES }, (_, index) => index + 1))
  })

  test('for too long is closed with 4002', async () => {
    const one = await start({ limits: { lagSeconds: 0.3, tickMs: 20 } })
    const slow = await readyClient(one, 'stuck')
    slow.socket.pause()

    for (let count = 0; count < FRAMES; count++)
      await one.bus.publish(liveFrame(await write('stuck', { body }), 'stuck'))
    await new Promise((resolve) => setTimeout(resolve, 500))
    slow.socket.resume()

    expect(await slow.closed).toMatchObject({ code: 4002 })
    await expect.poll(() => one.gateway.connections()).toBe(0)
  })

  test('and has far too much waiting is closed at once', async () => {
    const one = await start({ limits: { lagSeconds: 60 } })
    const slow = await readyClient(one, 'huge')
    slow.socket.pause()

    for (let count = 0; count < 25; count++) {
      await one.bus.publish(liveFrame(await write('huge', { body: 'x'.repeat(600_000) }), 'huge'))
    }

    await expect.poll(() => one.gateway.connections(), { timeout: 8_000 }).toBe(0)
    slow.socket.resume()
  })

  test('at all is cut off', async () => {
    const one = await start({ limits: { lagSeconds: 0.3, tickMs: 20 } })
    const slow = await readyClient(one, 'dead')
    slow.socket.pause()

    for (let count = 0; count < FRAMES; count++) await one.bus.publish(liveFrame(await write('dead', { body }), 'dead'))

    await expect.poll(() => one.gateway.connections(), { timeout: 5_000 }).toBe(0)
    slow.socket.resume()
  })
})

async function sent({ metrics }: RunningGateway): Promise<number> {
  const { values } = await metrics.framesSent.get()
  return values[0]?.value ?? 0
}

/** A database whose answers to one kind of question can be held back. */
function holding(question: string) {
  const { db } = database
  const held = { isHolding: false, waiting: 0, release: () => {} }
  let gate = Promise.resolve()
  const query = async <Row>(sql: string, params?: readonly unknown[]): Promise<Row[]> => {
    const rows = await db.query<Row>(sql, params)
    if (held.isHolding && sql.includes(question)) {
      held.waiting += 1
      await gate
    }
    return rows
  }
  const hold = (): void => {
    const { promise, resolve } = Promise.withResolvers<void>()
    gate = promise
    Object.assign(held, { isHolding: true, release: () => (resolve(), Object.assign(held, { isHolding: false })) })
  }
  return { db: { ...db, query }, hold, held }
}
