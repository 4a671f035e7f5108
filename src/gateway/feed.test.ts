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
