import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import pg from 'pg'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { createPartitions, dropPartition, hasUnfinished, oldPartitions, partitionInUse } from './partitions.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

const names = async (parent = 'event'): Promise<string[]> => {
  const rows = await database.db.query<{ name: string }>(
    'select name from time_partition where parent = $1 and not is_default order by from_id',
    [parent],
  )
  return rows.map(({ name }) => name)
}
const strays = async (): Promise<number> => {
  const [row] = await database.db.query<{ count: number }>('select count(*)::integer as count from delivery_other')
  return row?.count ?? 0
}
const addDelivery = (at: string, state: number, eventAt = at) =>
  database.db.query(
    `insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, state, run_at)
     values (row_id_at($1) + (random() * 1e9)::bigint, row_id_at($3), 1, 'email', 'anna', 0, 1, $2, now()) returning id`,
    [at, state, eventAt],
  )

const drop = (name: string, days = 90) => dropPartition(database.db, name, days)

suite('the partition of a week', () => {
  test('is made ahead, once, however many make it', async () => {
    const before = await names()
    for (const parent of ['event', 'delivery', 'attempt_log']) {
      await database.db.query(`drop table ${(await names(parent)).at(-1)}`)
      await database.db.query(`drop table ${(await names(parent)).at(-1)}`)
    }

    const missing = await Promise.all([1, 2, 3, 4].map(() => createPartitions(database.db)))

    expect(missing).toEqual([0, 0, 0, 0])
    expect(await names()).toEqual(before.slice(0, -1))
    expect(await names('attempt_log')).toHaveLength(before.length - 1)
    const [made] = await database.db.query<{ options: string[] }>(
      `select reloptions as options from pg_class where relname = $1`,
      [(await names('delivery')).at(-1)],
    )
    expect(made?.options).toEqual(expect.arrayContaining(['fillfactor=50']))
  })

  test('takes over the rows that came before it', async () => {
    const last = (await names('delivery')).at(-1) ?? ''
    const [range] = await database.db.query<{ at: string }>(
      `select timestamp '2025-01-01' + (from_id >> 20) * interval '1 millisecond' + interval '1 day' as at
       from time_partition where name = $1`,
      [last],
    )
    await database.db.query(`drop table ${last}`)
    await addDelivery(`${range?.at}Z`, 2)
    expect(await strays()).toBe(1)

    await database.db.query('select create_partitions(now(), 7)')

    expect(await strays()).toBe(0)
    const [found] = await database.db.query<{ table: string }>(
      `select tableoid::regclass::text as table from delivery where id >= row_id_at($1)`,
      [`${range?.at}Z`],
    )
    expect(found?.table).toBe(last)
  })

  test('is made later when somebody is in the way, and nobody else waits for it', async () => {
    const [event, delivery] = [(await names('event')).at(-1), (await names('delivery')).at(-1)]
    await database.db.query(`drop table ${event}`)
    await database.db.query(`drop table ${delivery}`)
    const reader = new pg.Client(database.url)
    await reader.connect()
    await reader.query('begin')
    await reader.query('select from event_other')

    const missing = await database.db.query<{ missing: number }>('select create_partitions(now(), 7) as missing')
    await reader.query('rollback')
    await reader.end()
    const after = await database.db.query<{ missing: number }>('select create_partitions(now(), 7) as missing')

    expect([missing, after]).toEqual([[{ missing: 1 }], [{ missing: 0 }]])
    expect(await names('delivery')).toContain(delivery)
  })
})

suite('an old partition', () => {
  const MAY = '2025-05-07T12:00:00Z'
  const JUNE = '2025-06-11T12:00:00Z'
  const ofMay = { delivery: 'delivery_20250505', attempts: 'attempt_log_20250505', event: 'event_20250505' }

  beforeEach(async () => {
    await database.db.query('truncate event, delivery, ready, lease, dead, attempt_log')
    await database.db.query('select create_partitions($1, 1), create_partitions($2, 1)', [MAY, JUNE])
  })

  test('goes when its time is over, deliveries first', async () => {
    await addDelivery(MAY, 2)

    expect((await oldPartitions(database.db, 90)).map(({ name }) => name).slice(0, 3)).toEqual(Object.values(ofMay))
    expect(await drop(ofMay.event)).toBe('its deliveries are kept')
    expect(await drop(ofMay.attempts)).toBe('its deliveries are kept')
    expect([await drop(ofMay.delivery), await drop(ofMay.attempts), await drop(ofMay.event)]).toEqual([
      null,
      null,
      null,
    ])
    expect(await names('delivery')).not.toContain(ofMay.delivery)
    expect(await names('event')).not.toContain(ofMay.event)
  })

  test('stays while it is young', async () => {
    const current = (await names('delivery')).at(-2) ?? ''

    expect(await drop(current)).toBe('too young')
    expect(await drop(ofMay.delivery, 36_500)).toBe('too young')
    expect(await names('delivery')).toContain(current)
  })

  test.each([
    ['ready', 'insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), $1)', 0],
    [
      'under a lease',
      `insert into lease (id, worker, lane, until, ids) values (1, gen_random_uuid(), 0, now(), array[$1::bigint])`,
      0,
    ],
    ['uncertain', `insert into dead (delivery_id, kind, reason) values ($1, 'uncertain', '')`, 9],
    ['a dead letter', `insert into dead (delivery_id, kind, reason) values ($1, 'failed', '')`, 4],
  ])('stays while one of its deliveries is %s, and so does its event', async (_, sql, state) => {
    const [row] = (await addDelivery(MAY, state)) as { id: string }[]
    await database.db.query(sql, [row?.id])

    expect(await drop(ofMay.delivery)).toBe('deliveries wait')
    expect(await drop(ofMay.event)).toBe('its deliveries are kept')
  })

  test('of events stays while a later delivery of one waits', async () => {
    const [row] = (await addDelivery(JUNE, 0, MAY)) as { id: string }[]
    await database.db.query('insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), $1)', [
      row?.id,
    ])

    expect(await drop(ofMay.delivery)).toBeNull()
    expect(await partitionInUse(database.db, ofMay.event)).toBe('deliveries wait')
    expect(await drop(ofMay.event)).toBe('deliveries wait')
  })

  test.each([
    [0, true],
    [9, true],
    [2, false],
    [4, false],
  ])('with a delivery in the state %i that nothing knows of has unfinished ones: %s', async (state, isUnfinished) => {
    await addDelivery(MAY, state)

    expect(await hasUnfinished(database.db, ofMay.delivery)).toBe(isUnfinished)
  })

  test('stays while somebody reads it', async () => {
    const reader = new pg.Client(database.url)
    await reader.connect()
    await reader.query('begin')
    await reader.query(`select from ${ofMay.delivery}`)

    const reason = await drop(ofMay.delivery)
    await reader.query('rollback')
    await reader.end()

    expect([reason, await drop(ofMay.delivery)]).toEqual(['locked', null])
  })

  test('is not one of the others', async () => {
    const [id] = await bury(database.db, 1)

    expect(id).toBeDefined()
    expect(await drop('dead')).toBeNull()
    expect(await drop('delivery_other')).toBeNull()
    expect(await drop('nothing; drop table event')).toBeNull()
    expect(await database.db.query('select from dead')).toHaveLength(1)
  })
})
