import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { startTestApp, type TestApp } from '../../test/app.ts'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { CLEAR, incoming, pipeline, putTypes, violations, type Pipeline } from '../../test/pipeline.ts'
import type { Event } from '../core/event.ts'
import { accept } from './accept.ts'

let database: FreshDatabase
let steps: Pipeline
let other: Pipeline
beforeAll(async () => {
  database = await freshDatabase()
  steps = pipeline(database.db)
  other = pipeline(database.db, { processNumber: 2 })
  await putTypes(database.db, [
    {
      type: 'paid',
      recipients: { path: 'user_id' },
      channels: ['mail'],
      dedupe_path: 'data.order_id',
      dedupe_window_seconds: 60,
    },
  ])
})
beforeEach(async () => {
  steps.sent.length = 0
  other.sent.length = 0
  await database.db.query(CLEAR)
})
afterAll(async () => {
  await steps.close()
  await other.close()
  await database.close()
})

const paid = (id: string, change: Partial<Event> = {}): Partial<Event> => ({
  id,
  title: id,
  dedupe_key: 'order-7',
  ...change,
})
/** The type finds the key. */
const paidBy = (order: number | string) => ({ type: 'paid', title: 'Paid', data: { order_id: order } })
/** With an id of its own or without. */
const some = (n: number): Partial<Event> => ({
  ...(n % 3 === 0 && { id: `e${n}` }),
  title: `${n}`,
  dedupe_key: 'order-7',
})
const order = (id: string) => ({
  id,
  user_id: 'anna',
  type: 'job.done',
  title: 'Paid',
  body: 'Thanks.',
  dedupe_key: 'order-7',
})
const endWindow = () => database.db.query('update dedupe set until = now()')
const eventIds = async () =>
  (await database.db.query<{ event_id: string }>('select event_id from event order by id')).map((row) => row.event_id)

suite('a dedupe key', () => {
  test('lets one event through; the others are answered with it, whatever they say', async () => {
    const first = await steps.accept(paid('a'))
    const second = await steps.accept(paid('b', { title: 'in other words', user_id: 'boris' }))

    expect(first).toEqual({ event_id: 'a', jobs_count: 1, isReplay: false })
    expect(second).toEqual({ event_id: 'a', jobs_count: 1, isReplay: false, deduplicated: true })
    await steps.deliverDue()
    expect(steps.sent).toEqual(['mail anna a'])
    expect(await eventIds()).toEqual(['a'])
    expect(await violations(database.db)).toEqual([])
  })

  test('holds for its window, by the clock of the database', async () => {
    await steps.accept(paid('a', { dedupe_window_seconds: 60 }))
    const [window] = await database.db.query<{ seconds: number }>(
      'select extract(epoch from until - created_at)::float8 as seconds from dedupe join event on event.id = dedupe.event_id',
    )
    await endWindow()

    const second = await steps.accept(paid('b'))
    const third = await steps.accept(paid('c'))

    expect(window?.seconds).toBe(60)
    expect([second.event_id, third.event_id]).toEqual(['b', 'b'])
    expect(await eventIds()).toEqual(['a', 'b'])
  })

  test('belongs to its type and its company', async () => {
    const events = [paid('a'), paid('b', { type: 'shown' })]

    const answers = [
      ...(await Promise.all(events.map((event) => steps.accept(event)))),
      await accept(steps.ports, 'acme', incoming(paid('c'))),
    ]

    expect(answers.map(({ event_id: id }) => id)).toEqual(['a', 'b', 'c'])
  })

  test('may be found by its type in the data of the event, also a long one', async () => {
    const long = 'x'.repeat(2000)

    const answers = []
    for (const n of [7, '7', 8, `${long}1`, `${long}2`]) answers.push(await steps.accept(paidBy(n)))

    expect(answers.map(({ deduplicated }) => deduplicated ?? false)).toEqual([false, true, false, false, false])
    const [row] = await database.db.query<{ seconds: number }>(
      'select extract(epoch from until - now())::float8 as seconds from dedupe limit 1',
    )
    expect(row?.seconds).toBeLessThan(61)
  })

  test('is never taken from a number so large that others are read as the same', async () => {
    const [one, another] = JSON.parse('[1234567890123456788, 1234567890123456789]') as [number, number]
    expect(one).toBe(another)

    const refused = steps.accept(paidBy(one))

    await expect(refused).rejects.toMatchObject({ code: 'invalid', fields: [{ field: 'data.order_id' }] })
    expect(await steps.accept(paidBy(String(one)))).toMatchObject({ jobs_count: 1 })
    expect(await eventIds()).toHaveLength(1)
  })

  test('is won by exactly one of many that come at once, in several processes, alone and in batches', async () => {
    const answers = (
      await Promise.all([
        ...Array.from({ length: 30 }, async (_, n) => [await steps.accept(some(n))]),
        ...Array.from({ length: 30 }, async (_, n) => [await other.accept(some(100 + n), `key-${n}`)]),
        ...Array.from({ length: 5 }, async (_, n) => (await other.acceptBatch([some(200 + n), some(300 + n)])).events),
      ])
    ).flat()

    expect(answers.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
    expect(new Set(answers.map(({ event_id: id }) => id)).size).toBe(1)
    expect(await eventIds()).toEqual([answers[0]!.event_id])
    expect(await violations(database.db)).toEqual([])
  })

  test('of events without ids is looked after in shared statements, and hinders no others', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        steps.accept(n % 4 === 0 ? { title: `${n}` } : { title: `${n}`, dedupe_key: `order-${n % 50}` }),
      ),
    )

    expect(answers.filter(({ deduplicated }) => deduplicated)).toHaveLength(100)
    expect(await eventIds()).toHaveLength(100)
    expect((await database.db.query('select from event group by xmin')).length).toBeLessThan(20)
  })

  test('within one batch lets the first one through, and the batch is answered alike again', async () => {
    const events = [paid('a'), paid('x', { dedupe_key: 'order-8' }), paid('b')]

    const first = await steps.acceptBatch(events, 'batch-1')
    const again = await steps.acceptBatch(events, 'batch-1')

    const answers = [
      { event_id: 'a', jobs_count: 1 },
      { event_id: 'x', jobs_count: 1 },
      { event_id: 'a', jobs_count: 1, deduplicated: true },
    ]
    expect(first.events).toEqual(answers.map((answer) => ({ ...answer, isReplay: false })))
    expect(again.events).toEqual(answers.map((answer) => ({ ...answer, isReplay: true })))
    expect(await eventIds()).toEqual(['a', 'x'])
  })

  test('leaves ids and idempotency keys as they are: the same request has the same answer, also after the window', async () => {
    await steps.accept(paid('a'))
    await steps.accept(paid('b'), 'key-b')
    await endWindow()

    const again = await steps.accept(paid('b'), 'key-b')

    expect(again).toEqual({ event_id: 'a', jobs_count: 1, isReplay: true, deduplicated: true })
    await expect(steps.accept(paid('b', { title: 'Other' }))).rejects.toMatchObject({ code: 'mismatch' })
    expect(await steps.accept(paid('a'))).toEqual({ event_id: 'a', jobs_count: 1, isReplay: true })
    // What came again took no key.
    expect(await steps.accept(paid('c'))).toEqual({ event_id: 'c', jobs_count: 1, isReplay: false })
    expect(await violations(database.db)).toEqual([])
  })

  test('is not taken by an event that cannot be stored', async () => {
    await steps.accept({ id: 'known', title: 'known' })

    await expect(steps.accept(paid('known'))).rejects.toMatchObject({ code: 'mismatch' })
    await expect(
      steps.acceptBatch([paid('b', { dedupe_key: 'order-9' }), paid('known', { title: 'Other' })]),
    ).rejects.toMatchObject({ code: 'mismatch' })

    expect((await steps.accept(paid('a'))).deduplicated).toBeUndefined()
    expect((await steps.accept(paid('c', { dedupe_key: 'order-9' }))).deduplicated).toBeUndefined()
  })

  test('is counted, and a window without a key is refused', async () => {
    await steps.accept(paid('a'))
    const before = (await steps.ports.metrics.deduplicated.get()).values[0]?.value ?? 0
    await steps.accept(paid('b'))

    expect((await steps.ports.metrics.deduplicated.get()).values[0]?.value).toBe(before + 1)
    await expect(steps.accept({ dedupe_window_seconds: 60 })).rejects.toMatchObject({
      code: 'invalid',
      fields: [{ field: 'dedupe_window_seconds' }],
    })
  })
})

suite('over HTTP', () => {
  let server: TestApp
  beforeAll(async () => {
    server = await startTestApp()
  })
  afterAll(() => server.close())

  test('the second one is answered 200, with a mark and the address of the first', async () => {
    const first = await server.call('POST', '/api/v1/events', order('a'))
    const second = await server.call('POST', '/api/v1/events', order('b'))
    const batch = await server.call('POST', '/api/v1/events/batch', { events: [order('c')] })

    expect([first.status, second.status, batch.status]).toEqual([202, 200, 202])
    expect(second.body).toEqual({ ...first.body, deduplicated: true })
    expect(batch.body.events).toEqual([second.body])
    const again = await server.call('POST', '/api/v1/events', order('b'))
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 'true'])
  })
})
