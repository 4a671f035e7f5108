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
