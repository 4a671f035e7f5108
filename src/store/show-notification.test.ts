import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { idGenerator } from '../core/id.ts'
import { historyNotes, type ShownNotification } from './show-notification.ts'

const nextId = idGenerator(() => 1)

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

suite('the history', () => {
  test('keeps all that is sent at the same time, written in one statement', async () => {
    const note = historyNotes(database.db, 20)
    const shown = Array.from({ length: 20 }, (_, index) => notification({ title: `Mail ${index}` }))

    await Promise.all([...shown, ...shown].map((one) => note(one)))

    const rows = await database.db.query<{ title: string; xmin: string }>(
      'select title, xmin::text from notification order by id',
    )
    expect(rows.map(({ title }) => title)).toEqual(shown.map(({ title }) => title))
    expect(new Set(rows.map(({ xmin }) => xmin)).size).toBe(1)
  })

  test('does not lose the others when one cannot be written', async () => {
    const note = historyNotes(database.db, 20)
    const [good, bad, alsoGood] = [notification(), notification({ title: 'a\0b' }), notification()]

    const ends = await Promise.allSettled([good, bad, alsoGood].map((one) => note(one)))

    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const rows = await database.db.query<{ id: string }>('select id from notification where id = any($1::bigint[])', [
      [good.id, bad.id, alsoGood.id],
    ])
    expect(rows.map(({ id }) => id).toSorted()).toEqual([good.id, alsoGood.id])
  })
})

function notification(change: Partial<ShownNotification> = {}): ShownNotification {
  const id = nextId()
  return {
    id,
    event_row_id: id,
    event_id: id,
    company_id: '',
    user_id: 'anna',
    type: 'job.done',
    level: 'info',
    is_read: false,
    title: 'Done',
    body: null,
    cta: null,
    data: {},
    collapse_key: null,
    ...change,
  }
}
