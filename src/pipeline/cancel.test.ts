import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { CLEAR, pipeline, putTypes, violations, type Pipeline } from '../../test/pipeline.ts'
import { STATES } from '../core/delivery.ts'
import { connect } from '../db/pool.ts'
import type { Db } from '../db/db.ts'
import { cancelOne } from '../store/cancel-events.ts'
import { deliveriesOf } from '../store/event-status.ts'
import { eventById } from '../store/find-event.ts'
import { cancelByKey, cancelEvent } from './cancel.ts'
import { withdrawWaiting } from './withdraw.ts'

const MANY = 200_000
const TOMORROW = new Date(Date.now() + 86_400_000).toISOString()

let database: FreshDatabase
/** One connection, whose statistics are those of its own statements. */
let db: Db
let steps: Pipeline
beforeAll(async () => {
  database = await freshDatabase()
  db = connect(database.url, { maxConnections: 1, statementTimeoutMs: 120_000 })
  steps = pipeline(db)
  await putTypes(db)
})
beforeEach(async () => {
  steps.sent.length = 0
  await db.query(CLEAR)
})
afterAll(async () => {
  await steps.close()
  await db.close()
  await database.close()
})

const chores = async () => {
  for (;;) {
    await withdrawWaiting(steps.ports)
    const [left] = await db.query('select from withdrawal limit 1')
    if (!left) return
  }
}
const states = () =>
  db.query<{ state: number; count: number }>(
    'select state, count(*)::integer as count from delivery group by state order by state',
  )
const statusOf = async (eventId: string) => {
  const { row_id: rowId } = await eventById(db, '', eventId)
  return (await deliveriesOf(db, rowId)).map(({ status }) => status)
}

const rowsTouched = async (): Promise<number> => {
  await db.query('select pg_stat_force_next_flush()')
  const [row] = await db.query<{ rows: number }>(
    `select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del)::float8 as rows
     from pg_stat_user_tables where relname ~ '^(event|delivery|ready|lease|thread)(_|$)'`,
  )
  return row!.rows
}

/** Rows read and written since the last call, in the tables of events and their queue. */
async function touched(work: () => Promise<unknown>): Promise<number> {
  const before = await rowsTouched()
  await work()
  return (await rowsTouched()) - before
}

/** One event with many deliveries, or many events with one each; all in the queue. */
async function addMany({
  events,
  deliveries,
  key = null,
}: {
  events: number
  deliveries: number
  key?: string | null
}) {
  const [{ first }] = (await db.query<{ first: string }>('select row_id_at(now()) as first')) as [{ first: string }]
  await db.query(
    `with e as (
       insert into event (id, event_id, type, event_type_id, payload, jobs_count, lane, priority, cancellation_key)
       select $1::bigint + n, 'many-' || n, 'mailed', (select id from event_type where type = 'mailed'),
         '{"type":"mailed","title":"Many","body":"Many","data":{}}', $3::integer / $2::integer, 0, 1, $4
       from generate_series(1, $2) as n
     ),
     d as (
       insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, run_at)
       select $1::bigint + 1000000 + n, $1::bigint + 1 + (n - 1) % $2, 1, 'mail', 'user-' || n, 0, 1, now() + interval '1 day'
       from generate_series(1, $3) as n
       returning channel, lane, priority, run_at, id
     )
     insert into ready (channel, lane, priority, run_at, id)
     select channel_number(channel), lane, priority, run_at, id from d`,
    [first, events, deliveries, key],
  )
  await db.query('analyze event, delivery, ready')
}

suite('cancelling', () => {
  test('200,000 deliveries takes no more than cancelling one; nothing is sent, and all are ended', async () => {
    await steps.accept({ id: 'small' })
    await addMany({ events: 1, deliveries: MANY })
    const [{ id: rowId }] = (await db.query<{ id: string }>(`select id from event where jobs_count = ${MANY}`)) as [
      { id: string },
    ]

    const one = await touched(() => cancelEvent(steps.ports, '', 'small'))
    const many = await touched(async () => {
      expect(await cancelOne(db, '', rowId)).toBeNull()
    })

    expect(many).toBeLessThanOrEqual(one)
    expect((await deliveriesOf(db, rowId)).every(({ status }) => status === 'CANCELLED')).toBe(true)
    expect(await violations(db)).toEqual([])
    await chores()
    expect(await states()).toEqual([{ state: STATES.cancelled, count: MANY + 1 }])
    expect(await db.query('select from ready')).toEqual([])
    expect(await violations(db)).toEqual([])
  }, 120_000)

  test('by a key that 50,000 events share takes a bounded look, and ends them all', async () => {
    await addMany({ events: 50_000, deliveries: 50_000, key: 'trip' })
    await steps.accept({ id: 'other', send_after: TOMORROW })

    const rows = await touched(async () => {
      expect(await cancelByKey(steps.ports, '', 'trip')).toEqual({ events: null, deliveries: null })
    })
    await steps.accept({ id: 'later', cancellation_key: 'trip' })

    expect(rows).toBeLessThan(500)
    expect(await violations(db)).toEqual([])
    await chores()
    expect(await states()).toEqual([
      { state: STATES.ready, count: 2 },
      { state: STATES.cancelled, count: 50_000 },
    ])
    expect(await steps.deliverDue()).toBe(1)
    expect([await statusOf('other'), await statusOf('later')]).toEqual([['PENDING'], ['SENT']])
    expect(await violations(db)).toEqual([])
  }, 120_000)

  test('takes what is due out of the queue as it is claimed, before any chore has come by', async () => {
    for (const id of ['1', '2', '3']) await steps.accept({ id, cancellation_key: 'trip', title: id })
    await db.query(`insert into cancellation values ('', 'trip', now())`)
    await steps.accept({ id: '4', cancellation_key: 'trip', title: '4' })

    expect(await statusOf('1')).toEqual(['CANCELLED'])
    expect(await steps.deliverDue()).toBe(4)

    expect(steps.sent).toEqual(['mail anna 4'])
    expect(await states()).toEqual([
      { state: STATES.sent, count: 1 },
      { state: STATES.cancelled, count: 3 },
    ])
    expect(await violations(db)).toEqual([])
  })

  test('by a key reaches what a worker has claimed and not begun', async () => {
    await steps.accept({ id: 'claimed', cancellation_key: 'trip' })
    const claim = (await steps.ports.queue.claim({ channel: 'mail', lane: 'p2p' }, 10))!
    await cancelByKey(steps.ports, '', 'trip')

    await steps.deliver(claim)

    expect(steps.sent).toEqual([])
    expect(await statusOf('claimed')).toEqual(['CANCELLED'])
    expect((await eventById(db, '', 'claimed')).cancelled_at).not.toBeNull()
  })

  test('by a key again counts what came since, also when the key has a long history', async () => {
    await addMany({ events: 20_000, deliveries: 20_000, key: 'trip' })
    await cancelByKey(steps.ports, '', 'trip')
    for (const id of ['1', '2']) await steps.accept({ id, cancellation_key: 'trip', send_after: TOMORROW })

    const rows = await touched(async () => {
      expect(await cancelByKey(steps.ports, '', 'trip')).toEqual({ events: 2, deliveries: 2 })
    })

    expect(rows).toBeLessThan(1000)
  }, 120_000)

  test('is over for those that are many, however many processes end them and one dies in between', async () => {
    await addMany({ events: 10, deliveries: 20_000, key: 'trip' })
    await cancelByKey(steps.ports, '', 'trip')
    const others = connect(database.url, { maxConnections: 4 })
    // A process that took its turn and never came back.
    await db.query(`update withdrawal set turn_at = now() + interval '200 ms'`)

    const ports = { ...steps.ports, db: others }
    await expect
      .poll(
        async () => {
          await Promise.all([1, 2, 3].map(() => withdrawWaiting(ports)))
          return (await db.query('select from withdrawal')).length
        },
        { timeout: 60_000 },
      )
      .toBe(0)
    await others.close()

    expect(await states()).toEqual([{ state: STATES.cancelled, count: 20_000 }])
    expect(await db.query('select from ready')).toEqual([])
  }, 120_000)
})
