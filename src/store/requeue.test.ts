import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from '../queue/postgres.ts'
import { discardLetter, requeueLetters, settleLetter } from './requeue.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate event, delivery, ready, lease, intent, dead, attempt_log'))

const SAME = { kind: 'failed', template: 'same' } as const
const requeue = (ids: string[], change: Partial<Parameters<typeof requeueLetters>[3]> = {}) =>
  requeueLetters(database.db, '', ids, { ...SAME, ...change })
const deliveryOf = async (id = '') => {
  const [row] = await database.db.query<Record<string, unknown>>('select * from delivery where id = $1', [id])
  return row
}
const idsOf = async (table: 'ready' | 'dead') => {
  const column = table === 'ready' ? 'id' : 'delivery_id'
  const rows = await database.db.query<{ id: string }>(`select ${column} as id from ${table} order by 1`)
  return rows.map((row) => row.id)
}

suite('a dead letter that is sent again', () => {
  test('is due at once in the lane of retries, and dead no more', async () => {
    const [id = '', other = ''] = await bury(database.db, 2)

    const requeued = await requeue([id])

    expect(requeued).toEqual([id])
    expect(await idsOf('dead')).toEqual([other])
    expect(await database.db.query('select lane, priority, id, run_at <= now() as is_due from ready')).toEqual([
      { lane: 2, priority: 1, id, is_due: true },
    ])
    expect(await deliveryOf(id)).toMatchObject({ state: 0, crashes: 0, finished_at: null, reason: null })
  })

  test('numbers its attempts on, and may take as many as the first time', async () => {
    const { db } = database
    const [id = ''] = await bury(db, 1, { attempts: 3 })
    const queue = postgresQueue({ db, nextId: idGenerator(() => 1), workerId: randomUUID(), leaseSeconds: 30 })

    await requeue([id])
    const claim = await queue.claim({ channel: 'email', lane: 'retry' }, 10)
    const result = { id, state: 'failed', verdict: 'reject', reason: 'again' } as const
    const recorded = await queue.finish(claim?.leaseId ?? '', [result])

    expect(claim?.deliveries).toMatchObject([{ id, attempt: 0, crashes: 0 }])
    expect(recorded).toEqual([id])
    const numbers = await db.query<{ n: number }>('select n from attempt_log where delivery_id = $1 order by n', [id])
    expect(numbers.map(({ n }) => n)).toEqual([1, 2, 3, 4])
    expect(await idsOf('dead')).toEqual([id])
    await queue.close()
  })

  test('keeps its template, or takes the current one', async () => {
    const [same = '', current = ''] = await bury(database.db, 2, { templateId: '7' })

    await requeue([same])
    await requeue([current], { template: 'current' })

    expect(await deliveryOf(same)).toMatchObject({ pinned_template_id: '7' })
    expect(await deliveryOf(current)).toMatchObject({ pinned_template_id: null })
  })

  test('takes changed data for itself alone', async () => {
    const [id = ''] = await bury(database.db, 1, { data: { a: 1, b: 1 }, vars: { b: 2, c: 2 } })

    await requeue([id], { data: { c: 3, d: 3 } })

    expect(await deliveryOf(id)).toMatchObject({ vars: { b: 2, c: 3, d: 3 } })
    const [event] = await database.db.query<{ data: object }>(`select payload -> 'data' as data from event`)
    expect(event?.data).toEqual({ a: 1, b: 1 })
  })

  test('by many at once is sent once', async () => {
    const ids = await bury(database.db, 20)

    const requeued = await Promise.all(Array.from({ length: 8 }, () => requeue(ids)))

    expect(requeued.flat().toSorted()).toEqual(ids)
    expect(await idsOf('ready')).toEqual(ids)
  })

  test('comes in its turn when many are sent at a rate', async () => {
    const ids = await bury(database.db, 4)
    const from = new Date(Date.now() + 60_000).toISOString()

    await requeue(ids, { pace: { from, perSecond: 2 } })

    const rows = await database.db.query<{ id: string; seconds: number; is_same: boolean }>(
      `select ready.id, extract(epoch from ready.run_at - $1)::float8 as seconds, ready.run_at = delivery.run_at as is_same
       from ready join delivery using (id) order by ready.run_at`,
      [from],
    )
    expect(rows).toEqual(ids.map((id, i) => ({ id, seconds: i / 2, is_same: true })))
  })

  test.each([
    ['expired', { expiresInSeconds: -1 }],
    ['of a cancelled event', { isCancelled: true }],
    ['of another company', { companyId: 'other' }],
    ['of another kind', { kind: 'uncertain' }],
  ] as const)('stays dead when it is %s', async (_, burial) => {
    const ids = await bury(database.db, 1, burial)

    const requeued = await requeue(ids)

    expect(requeued).toEqual([])
    expect([await idsOf('ready'), await idsOf('dead')]).toEqual([[], ids])
  })
})

suite('an uncertain delivery', () => {
  test.each([
    ['sent', 2],
    ['failed', 4],
  ] as const)('is settled as %s, once', async (outcome, state) => {
    const [id = ''] = await bury(database.db, 1, { kind: 'uncertain' })

    const answers = await Promise.all([1, 2, 3].map(() => settleLetter(database.db, '', id, outcome)))

    expect(answers.filter(Boolean)).toHaveLength(1)
    expect(await deliveryOf(id)).toMatchObject({ state, reason: `settled as ${outcome}` })
    expect(await idsOf('dead')).toEqual([])
  })

  test('is neither settled nor discarded by another company, and a failed one is not settled', async () => {
    const [uncertain = ''] = await bury(database.db, 1, { kind: 'uncertain' })
    const [failed = ''] = await bury(database.db, 1)

    expect(await settleLetter(database.db, 'other', uncertain, 'sent')).toBe(false)
    expect(await settleLetter(database.db, '', failed, 'sent')).toBe(false)
    expect(await discardLetter(database.db, '', uncertain)).toBe(false)
    expect(await discardLetter(database.db, 'other', failed)).toBe(false)
    expect(await idsOf('dead')).toEqual([uncertain, failed].toSorted())
  })
})

suite('a failed delivery that is discarded', () => {
  test('stays failed and is dead no more', async () => {
    const [id = ''] = await bury(database.db, 1)

    expect(await discardLetter(database.db, '', id)).toBe(true)

    expect(await deliveryOf(id)).toMatchObject({ state: 4, reason: 'refused' })
    expect(await idsOf('dead')).toEqual([])
    expect(await requeue([id])).toEqual([])
  })
})
