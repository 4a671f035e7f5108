import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { CLEAR, incoming, pipeline, putTypes, violations, type Pipeline } from '../../test/pipeline.ts'
import type { Event } from '../core/event.ts'
import { accept, acceptBatch } from './accept.ts'

let database: FreshDatabase
let steps: Pipeline
let other: Pipeline
beforeAll(async () => {
  database = await freshDatabase()
  steps = pipeline(database.db)
  other = pipeline(database.db, { processNumber: 2 })
  await putTypes(database.db)
})
beforeEach(() => database.db.query(CLEAR))
afterAll(async () => {
  await steps.close()
  await other.close()
  await database.close()
})

const LENGTH = 450
const list = (change: (n: number) => Partial<Event> = () => ({})): Partial<Event>[] =>
  Array.from({ length: LENGTH }, (_, n) => ({ id: `e${n}`, title: `${n}`, user_id: `u${n % 50}`, ...change(n) }))
const countOf = async (table: string): Promise<number> =>
  (await database.db.query<{ count: number }>(`select count(*)::integer as count from ${table}`))[0]!.count

suite('a list that is stored in pieces', () => {
  test('is stored with all that belongs to its events, each once', async () => {
    const { events, isReplay } = await steps.acceptBatch(list())

    expect(isReplay).toBe(false)
    expect(events.map(({ event_id: id, isReplay: was }) => [id, was])).toEqual(list().map(({ id }) => [id, false]))
    expect(await Promise.all(['event', 'delivery', 'ready', 'idem'].map(countOf))).toEqual([450, 450, 450, 450])
    expect(await steps.deliverDue()).toBe(LENGTH)
    expect(await violations(database.db)).toEqual([])
  })

  test.each([101, 119, 120, 121, 200, 420])('may hold %i events', async (length) => {
    const events = list().slice(0, length)

    const first = await steps.acceptBatch(events, 'request')
    const again = await steps.acceptBatch(events, 'request')

    expect(await Promise.all(['event', 'delivery', 'ready'].map(countOf))).toEqual([length, length, length])
    expect([first.isReplay, again.isReplay]).toEqual([false, true])
    expect(again.events.map(({ event_id: id }) => id)).toEqual(events.map(({ id }) => id))
  })

  test('lets others have their turn before its last event is planned', async () => {
    let ids = 0
    const turns: number[] = []
    const count = (): void => {
      turns.push(ids)
      if (turns.length < 1000) setImmediate(count)
    }
    const nextId = (): string => {
      ids += 1
      return steps.ports.nextId()
    }

    const stored = acceptBatch({ ...steps.ports, nextId }, '', list().map(incoming))
    setImmediate(count)
    await stored

    const between = new Set(turns.filter((made) => made > 0 && made < ids))
    expect(between.size).toBeGreaterThan(2)
  })

  test.each([0, 19, 20, 59, 60, 449])('leaves nothing behind when its event %i is refused', async (wrong) => {
    const refused = steps.acceptBatch(list((n) => (n === wrong ? { type: 'no.such.type' } : {})))

    await expect(refused).rejects.toMatchObject({ code: 'invalid', fields: [{ field: `events[${wrong}].type` }] })
    expect(await Promise.all(['event', 'delivery', 'ready', 'idem'].map(countOf))).toEqual([0, 0, 0, 0])
    await expect(steps.acceptBatch(list())).resolves.toMatchObject({ isReplay: false })
  })

  test('is refused for the event that cannot be planned, also when others came before', async () => {
    await steps.accept({ ...list()[0] })

    await expect(steps.acceptBatch(list((n) => (n === 449 ? { type: 'no.such.type' } : {})))).rejects.toMatchObject({
      fields: [{ field: 'events[449].type' }],
    })
    expect(await countOf('event')).toBe(1)
  })

  test.each([0, 150, 449])('answers its event %i that came before as it was answered then', async (known) => {
    await steps.accept({ ...list()[known] })

    const { events } = await steps.acceptBatch(list())

    expect(events.filter(({ isReplay }) => isReplay).map(({ event_id: id }) => id)).toEqual([`e${known}`])
    expect(await countOf('event')).toBe(LENGTH)
    expect(await violations(database.db)).toEqual([])
  })

  test('is refused as a whole when one of its events came before with another body', async () => {
    await steps.accept({ ...list()[300], title: 'Other' })

    await expect(steps.acceptBatch(list())).rejects.toMatchObject({ code: 'mismatch', message: /events\[300\]/ })
    expect(await countOf('event')).toBe(1)
  })

  test('is refused when an id is in it twice, far apart', async () => {
    await expect(steps.acceptBatch(list((n) => (n === 400 ? { id: 'e3' } : {})))).rejects.toMatchObject({
      fields: [{ field: 'events[400]' }],
    })
    expect(await countOf('event')).toBe(0)
  })

  test.each([
    ['with ids of its own', list()],
    ['without ids', list().map(({ id: _id, ...event }) => event)],
  ])('is replayed by its key, %s', async (_, events) => {
    const first = await steps.acceptBatch(events, 'key')
    const second = await other.acceptBatch(events, 'key')

    expect([first.isReplay, second.isReplay]).toEqual([false, true])
    expect(second.events.map(({ event_id: id }) => id)).toEqual(first.events.map(({ event_id: id }) => id))
    expect(await countOf('event')).toBe(LENGTH)
  })

  test.each([
    ['show themselves, replace or wait their turn', false],
    ['tell the same fact as well', true],
  ])('may hold events that %s', async (_, hasFacts) => {
    const kinds: Partial<Event>[] = [{ type: 'shown' }, { collapse_key: 'one' }, { ordering_key: 'one' }]
    const { events } = await steps.acceptBatch(
      list((n) => (hasFacts && n % 10 === 4 ? { dedupe_key: `fact-${n % 100}` } : (kinds[n % 10] ?? {}))),
    )

    const repeated = hasFacts ? 35 : 0
    expect(events.filter(({ deduplicated }) => deduplicated)).toHaveLength(repeated)
    expect(await countOf('event')).toBe(LENGTH - repeated)
    await steps.deliverDue()
    expect(await violations(database.db)).toEqual([])
  })

  test('is stored once when it comes to two processes at the same time, in another order', async () => {
    const answers = await Promise.allSettled([steps.acceptBatch(list()), other.acceptBatch(list().toReversed())])

    const stored = answers.flatMap((one) => (one.status === 'fulfilled' ? one.value.events : []))
    expect(stored.filter(({ isReplay }) => !isReplay)).toHaveLength(LENGTH)
    expect(await countOf('event')).toBe(LENGTH)
  })

  test('and one of its events that comes at the same time exclude each other', async () => {
    const [batch, single] = await Promise.allSettled([
      acceptBatch(steps.ports, '', list().map(incoming)),
      accept(steps.ports, '', incoming({ ...list()[449] })),
    ])

    const losers = [batch, single].filter(({ status }) => status === 'rejected')
    for (const loser of losers) expect(loser).toMatchObject({ reason: { code: 'conflict' } })
    expect(losers.length).toBeLessThan(2)
    await expect(steps.acceptBatch(list())).resolves.toMatchObject({ isReplay: false })
    expect(await countOf('event')).toBe(LENGTH)
  })
})
