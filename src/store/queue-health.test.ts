import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import pg from 'pg'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { queueHealth } from './queue-health.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate event, delivery, ready, lease, dead, attempt_log'))

suite('the health of the queue', () => {
  test('of a new database is all nought', async () => {
    const { deadTuples, ...health } = await queueHealth(database.db)

    expect(health).toEqual({
      oldestTransactionSeconds: 0,
      oldestDue: [],
      stops: [],
      ready: 0,
      waiting: 0,
      leased: 0,
      deadLetters: { failed: 0, uncertain: 0 },
      partitionsMissing: 0,
      strayRows: 0,
    })
    expect(Object.keys(deadTuples)).toEqual(expect.arrayContaining(['ready', 'lease', 'delivery', 'idem']))
  })

  test('is how long the oldest due delivery of each channel and lane waits, and how many there are', async () => {
    await database.db.query(
      `insert into ready (channel, lane, priority, flow, run_at, id) values
         (channel_number('mail'), 0, 1, 0, now() - interval '90 seconds', 1),
         (channel_number('mail'), 0, 2, 0, now() - interval '100 seconds', 2),
         (channel_number('mail'), 1, 1, 0, now() + interval '1 hour', 3),
         (channel_number('mail'), 1, 1, 7, now() - interval '50 seconds', 4),
         (channel_number('mail'), 1, 1, 8, now() - interval '60 seconds', 5),
         (channel_number('sms'), 2, 0, 0, now() - interval '5 seconds', 6)`,
    )
    await database.db.query(
      `insert into lease (id, worker, lane, until, ids) values (1, gen_random_uuid(), 0, now(), '{15,16,17}')`,
    )
    await bury(database.db, 2)
    await bury(database.db, 1, { kind: 'uncertain' })

    const health = await queueHealth(database.db)

    expect(health).toMatchObject({ ready: 6, leased: 3, deadLetters: { failed: 2, uncertain: 1 } })
    const waits = health.oldestDue.map(({ channel, lane, seconds }) => [channel, lane, Math.floor(seconds / 10) * 10])
    expect(waits).toEqual([
      ['mail', 'p2p', 100],
      ['mail', 'broadcast', 60],
      ['mail', 'retry', 0],
      ['sms', 'p2p', 0],
      ['sms', 'broadcast', 0],
      ['sms', 'retry', 0],
    ])
    expect(health.oldestDue.at(-1)?.seconds).toBeGreaterThan(4)
  })

  test('knows a transaction that somebody left open', async () => {
    const client = new pg.Client(database.url)
    await client.connect()
    await client.query('begin')
    await client.query('select pg_sleep(0.2)')

    const { oldestTransactionSeconds } = await queueHealth(database.db)
    await client.query('rollback')
    const after = await queueHealth(database.db)
    await client.end()

    expect(oldestTransactionSeconds).toBeGreaterThan(0.2)
    expect(after.oldestTransactionSeconds).toBe(0)
  })

  test('knows rows whose week has no partition, and partitions that are not there', async () => {
    const { db } = database
    await db.query(
      `insert into attempt_log (delivery_id, n, verdict, message) values (row_id_at('2030-01-01'), 1, 'retry', '')`,
    )
    const [week] = await db.query<{ name: string }>(
      `select name from time_partition where parent = 'event' and from_id > row_id_at(now()) order by from_id limit 1`,
    )
    await db.query(`drop table ${week?.name}`)

    expect(await queueHealth(db)).toMatchObject({ strayRows: 1, partitionsMissing: 1 })
  })
})
