import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { idempotencyKey } from '../store/idempotency.ts'
import { metrics } from '../metrics.ts'
import { retention, type RetentionDays } from './retention.ts'

const DAYS: RetentionDays = { events: 90, notifications: 365, idempotencyKeys: 7, deadLetters: 30 }
const FOR_EVER: RetentionDays = { events: 0, notifications: 0, idempotencyKeys: 0, deadLetters: 0 }

let database: FreshDatabase
let lines: string[] = []
beforeAll(async () => {
  database = await freshDatabase()
  await database.db.query(
    `select create_partitions(now() - make_interval(weeks => w), 1) from generate_series(1, 30) w`,
  )
})
afterAll(() => database.close())
beforeEach(async () => {
  lines = []
  await database.db.query(
    'truncate event, delivery, ready, lease, intent, dead, attempt_log, idem, trace, notification, outbox_mail, replay, collapse, cancellation, dedupe',
  )
})

const gauges = metrics()
const start = (days: Partial<RetentionDays> = {}) => {
  const log = pino({}, { write: (line: string) => void lines.push(line) })
  return retention({ db: database.db, log, metrics: gauges }, { ...DAYS, ...days })
}
const turn = (days: Partial<RetentionDays> = {}) => start(days).turn()
const count = async (table: string): Promise<number> => {
  const [row] = await database.db.query<{ count: number }>(`select count(*)::integer as count from ${table}`)
  return row?.count ?? 0
}
const oldest = async (parent: string): Promise<number> => {
  const [row] = await database.db.query<{ days: number }>(
    `select floor(extract(epoch from now() - timestamptz '2025-01-01T00:00:00Z')
       / 86400 - min(to_id >> 20) / 86400000.0)::integer as days
     from time_partition where parent = $1`,
    [parent],
  )
  return row?.days ?? 0
}
/** An event of that many days ago with one delivery, as it is when it has come to its end. */
const addEvent = async ({ daysAgo, state = 2, eventId }: { daysAgo: number; state?: number; eventId?: string }) => {
  const [row] = await database.db.query<{ id: string }>(
    `with ids as (select row_id_at(now() - make_interval(days => $1)) + (random() * 1e6)::bigint as id),
     e as (
       insert into event (id, event_id, type, event_type_id, payload, jobs_count, lane, priority)
       select id, coalesce($3, left(md5(id::text), 18) || '-8a5-65766e74636e'), 't', 1, '{}', 1, 0, 1 from ids
     )
     insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, state, run_at)
     select id + 1, id, 1, 'email', 'anna', 0, 1, $2, now() from ids returning id`,
    [daysAgo, state, eventId ?? null],
  )
  return row?.id ?? ''
}
const eventRowOf = (deliveryId: string) => String(BigInt(deliveryId) - 1n)
const addKey = (key: string, rowId: string, daysAgo: number) =>
  database.db.query(
    `insert into idem (key, event_id, body_hash, created_at) values ($1, $2, '', now() - make_interval(days => $3))`,
    [idempotencyKey('request', '', key), rowId, daysAgo],
  )

suite('what is kept for a time', () => {
  test('goes a whole week at a time, with deliveries and attempts', async () => {
    await addEvent({ daysAgo: 100 })
    const young = await addEvent({ daysAgo: 80 })

    await turn()

    expect(await database.db.query('select id from delivery')).toEqual([{ id: young }])
    expect(await count('event')).toBe(1)
    for (const parent of ['event', 'delivery', 'attempt_log']) {
      expect(await oldest(parent)).toBeLessThan(90)
      expect(await oldest(parent)).toBeGreaterThan(80)
    }
    await database.db.query(
      `select create_partitions(now() - make_interval(weeks => w), 1) from generate_series(1, 30) w`,
    )
  })

  test('stays for ever where that is wanted', async () => {
    await addEvent({ daysAgo: 200 })
    await bury(database.db, 1, { daysAgo: 200 })
    await addKey('old', '1', 400)

    await turn(FOR_EVER)

    expect([await count('event'), await count('dead'), await count('idem')]).toEqual([2, 1, 1])
  })

  test('stays while a person or a worker has yet to end it, and that is said once', async () => {
    const waiting = await addEvent({ daysAgo: 200, state: 0 })
    const lost = await addEvent({ daysAgo: 120, state: 0 })
    await database.db.query('insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), $1)', [
      waiting,
    ])
    const { turn: again } = start()

    await again()
    await again()

    expect(await database.db.query('select id from delivery order by id')).toEqual([{ id: waiting }, { id: lost }])
    expect(await count('event')).toBe(2)
    const kept = lines.filter((line) => line.includes('old partition kept') && line.includes('delivery_'))
    expect(kept.map((line) => (JSON.parse(line) as { reason: string }).reason)).toEqual([
      'deliveries wait',
      'deliveries are unfinished, and nothing knows of them',
    ])
    expect((await gauges.queue.partitionsKept.get()).values[0]?.value).toBe(6)
    await database.db.query('truncate delivery, ready')
    await again()
    expect(await oldest('event')).toBeLessThan(90)
    await database.db.query(
      `select create_partitions(now() - make_interval(weeks => w), 1) from generate_series(1, 30) w`,
    )
  })

  test('waits for a person so long: then uncertain deliveries count as failed', async () => {
    const { db } = database
    await bury(db, 1, { daysAgo: 31 })
    const [uncertain] = await bury(db, 1, { daysAgo: 31, kind: 'uncertain' })
    const young = await bury(db, 1, { daysAgo: 29, kind: 'uncertain' })

    await turn()

    expect(await db.query('select delivery_id as id from dead')).toEqual(young.map((id) => ({ id })))
    const rows = await db.query('select state, reason from delivery where id = any($1::bigint[]) order by id', [
      [uncertain, ...young],
    ])
    expect(rows).toEqual([
      { state: 4, reason: 'nobody settled it' },
      { state: 9, reason: 'refused' },
    ])
  })

  test('is an idempotency key for a week, but the own id of an event as long as the event', async () => {
    const own = await addEvent({ daysAgo: 20, eventId: 'order-7' })
    const made = await addEvent({ daysAgo: 20 })
    await addKey('of an event with its own id', eventRowOf(own), 20)
    await addKey('old', eventRowOf(made), 20)
    await addKey('of an event that is gone', '7', 20)
    await addKey('young', eventRowOf(made), 6)

    await turn()

    const keys = await database.db.query<{ key: string }>('select key from idem')
    expect(keys.map(({ key }) => key).toSorted()).toEqual(
      ['of an event with its own id', 'young'].map((key) => idempotencyKey('request', '', key)).toSorted(),
    )
  })

  test('is no key without its event, however long keys are kept', async () => {
    const { turn: again } = start({ idempotencyKeys: 0 })
    await addKey('young', '1', 80)
    await again()
    await database.db.query(`select create_partitions(now() - interval '100 days', 1)`)
    const delivery = await addEvent({ daysAgo: 100, eventId: 'order-8' })
    await addKey('of a week that goes', eventRowOf(delivery), 100)

    await again()

    const keys = await database.db.query<{ key: string }>('select key from idem')
    expect(keys).toEqual([{ key: idempotencyKey('request', '', 'young') }])
  })

  test('of many keys goes in more than one statement', async () => {
    await database.db.query(
      `insert into idem (key, event_id, body_hash, created_at)
       select md5(i::text)::uuid, 1, repeat(md5(i::text), 40)::bytea, now() - make_interval(days => i % 14) from generate_series(1, 40000) i`,
    )

    await turn()

    const [left] = await database.db.query<{ count: number; days: number }>(
      `select count(*)::integer as count, max(extract(epoch from now() - created_at) / 86400)::float8 as days from idem`,
    )
    expect(left?.days).toBeLessThan(7)
    expect(left?.count).toBeGreaterThan(19_000)
    expect(left?.count).toBeLessThan(21_000)
  })

  test('is a notification for a year, unless it came back since', async () => {
    const add = (
      title: string,
      daysAgo: number,
      change: { eventDaysAgo?: number; shownDaysAgo?: number; snoozed?: string } = {},
    ) =>
      database.db.query(
        `insert into notification (id, event_id, public_event_id, user_id, type, level, title, shown_at, snoozed_until)
         values (row_id_at(now() - make_interval(days => $2)) + (random() * 1e6)::bigint,
           row_id_at(now() - make_interval(days => $3)), '', 'anna', 't', 'info', $1, now() - make_interval(days => $4), $5)`,
        [title, daysAgo, change.eventDaysAgo ?? daysAgo, change.shownDaysAgo ?? daysAgo, change.snoozed ?? null],
      )
    await add('old', 366)
    await add('young', 364)
    await add('replaced lately', 366, { eventDaysAgo: 3 })
    await add('shown lately', 400, { shownDaysAgo: 3 })
    await add('snoozed', 366, { snoozed: new Date(Date.now() + 1e9).toISOString() })

    await turn()

    const left = await database.db.query<{ title: string }>('select title from notification order by title')
    expect(left.map(({ title }) => title)).toEqual(['replaced lately', 'shown lately', 'snoozed', 'young'])
  })

  test('is what nobody has a use for any more', async () => {
    const { db } = database
    await db.query(`insert into trace (event_id, reason) select row_id_at(now() - make_interval(days => d)), 'x'
                    from generate_series(1, 2500) i, unnest(array[89, 91]) d`)
    await db.query(`insert into outbox_mail (message_id, mail_from, mail_to, subject, text_part, at)
                    values ('a', '', '', '', '', now() - interval '91 days'), ('b', '', '', '', '', now())`)

    await turn()

    expect(await count('trace')).toBe(2500)
    expect(await db.query('select message_id from outbox_mail')).toEqual([{ message_id: 'b' }])
  })

  test('is a row of a week without partition', async () => {
    const { db } = database
    const add = async (state: number) => {
      const id = `row_id_at('2025-01-02') + ${state}`
      await db.query(
        `insert into event (id, event_id, type, event_type_id, payload, lane, priority) values (${id}, '', 't', 1, '{}', 0, 1)`,
      )
      await db.query(`insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, state, run_at)
                      values (${id}, ${id}, 1, 'email', 'anna', 0, 1, ${state}, now())`)
      await db.query(`insert into attempt_log (delivery_id, n, verdict, message) values (${id}, 1, 'retry', '')`)
    }
    await add(2)
    await add(9)
    expect(await count('delivery_other')).toBe(2)

    await turn()

    for (const table of ['delivery_other', 'attempt_log_other', 'event_other'])
      expect([table, await count(table)]).toEqual([table, 1])
    expect(await db.query('select state from delivery')).toEqual([{ state: 9 }])
  })

  test('is the last event of a collapse key, unless something older still waits', async () => {
    const { db } = database
    const addCollapse = (key: string, daysAgo: number) =>
      db.query(`insert into collapse values ('', 'anna', $1, row_id_at(now() - make_interval(days => $2)))`, [
        key,
        daysAgo,
      ])
    const keys = async () =>
      (await db.query<{ collapse_key: string }>('select collapse_key from collapse order by 1')).map(
        (row) => row.collapse_key,
      )
    await addCollapse('older than what waits', 120)
    await addCollapse('old', 100)
    await addCollapse('young', 80)
    await db.query(`insert into ready (channel, lane, priority, run_at, id)
      values (1, 0, 1, now() + interval '1 year', row_id_at(now() - interval '110 days'))`)

    await turn()
    const whileOneWaits = await keys()
    await db.query('truncate ready')
    await turn()

    expect(whileOneWaits).toEqual(['old', 'young'])
    expect(await keys()).toEqual(['young'])
  })

  test('is a dedupe key whose window is over', async () => {
    const { db } = database
    await db.query(`insert into dedupe (key, event_id, public_event_id, until) values
      (gen_random_uuid(), 1, 'over', now() - interval '25 hours'), (gen_random_uuid(), 2, 'open', now())`)

    await turn()

    expect(await db.query('select public_event_id as id from dedupe')).toEqual([{ id: 'open' }])
  })

  test('is a cancelled key, when all of it is marked', async () => {
    const { db } = database
    await db.query(`insert into cancellation
      values ('', 'old', now() - interval '91 days'), ('', 'busy', now() - interval '91 days'), ('', 'young', now())`)
    await db.query(`insert into withdrawal (company_id, cancellation_key, until) values ('', 'busy', now())`)

    await turn()

    expect(await db.query('select cancellation_key as key from cancellation order by 1')).toEqual([
      { key: 'busy' },
      { key: 'young' },
    ])
    await db.query('truncate withdrawal')
  })

  test('may be removed by several processes at once', async () => {
    await database.db.query(`insert into trace (event_id, reason) select 1, 'x' from generate_series(1, 5000)`)
    await addEvent({ daysAgo: 200 })

    await Promise.all([turn(), turn(), turn()])

    expect([await count('trace'), await count('event')]).toEqual([0, 0])
    expect(lines.filter((line) => line.includes('"level":50'))).toEqual([])
  })
})
