import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { EventTypeDefinition } from '../core/event-type.ts'
import type { Queryable } from '../db/db.ts'
import { deleteEventType, insertEventType, listEventTypes, putEventType, updateEventType } from './event-type.ts'
import { eventTypes } from './event-types.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate event_type'))

const definition = (change: Partial<EventTypeDefinition> = {}): EventTypeDefinition => ({
  type: 'job.done',
  recipients: { path: 'user_id' },
  channels: ['ws'],
  ...change,
})

/** Counts the statements, so that a test can tell memory from the database. */
function counted(): { db: Queryable; statements: () => number } {
  let count = 0
  const db: Queryable = {
    query: (sql, params) => {
      count += 1
      return database.db.query(sql, params)
    },
  }
  return { db, statements: () => count }
}

suite('a stored event type', () => {
  test('exists once in a company, with all its versions', async () => {
    const { db } = database
    const first = await insertEventType(db, 'acme', definition())

    await expect(insertEventType(db, 'acme', definition())).rejects.toMatchObject({ code: 'conflict' })
    const second = await updateEventType(db, 'acme', definition({ channels: ['ws', 'push'] }))

    expect(second).toMatchObject({ version: 2, channels: ['ws', 'push'], company_id: 'acme' })
    expect(await updateEventType(db, 'acme', definition(), 1)).toBeNull()
    expect(await updateEventType(db, 'other', definition())).toBeNull()
    expect(await eventTypes({ db }).version(first.id)).toMatchObject({ version: 1, channels: ['ws'] })
  })

  test('of the company hides that of the platform in the list', async () => {
    const { db } = database
    await putEventType(db, '', definition())
    await putEventType(db, '', definition({ type: 'other' }))
    await putEventType(db, 'acme', definition())

    const list = await listEventTypes(db, 'acme', { after: null, limit: 10 })

    expect(list.map(({ type, company_id }) => [type, company_id])).toEqual([
      ['other', ''],
      ['job.done', 'acme'],
    ])
  })
})

suite('the registered types', () => {
  test('of the company come before those of the platform', async () => {
    const { db } = database
    await putEventType(db, '', definition())
    await putEventType(db, 'acme', definition({ channels: ['email'] }))
    const types = eventTypes({ db })

    expect(await types.find('acme', 'job.done')).toMatchObject({ channels: ['email'] })
    expect(await types.find('other', 'job.done')).toMatchObject({ channels: ['ws'] })
    expect(await types.find('other', 'unknown')).toBeNull()
  })

  test('are answered from memory for a second', async () => {
    const { db, statements } = counted()
    await putEventType(database.db, '', definition())
    let now = 0
    const types = eventTypes({ db }, () => now)
    await types.find('', 'job.done')

    now = 999
    await Promise.all([types.find('', 'job.done'), types.find('', 'job.done')])
    expect(statements()).toBe(2)

    now = 1000
    await Promise.all([types.find('', 'job.done'), types.find('', 'job.done')])
    expect(statements()).toBe(3)
  })

  test('are given without waiting while they are in memory, and no longer', async () => {
    await putEventType(database.db, '', definition())
    let now = 0
    const types = eventTypes({ db: database.db }, () => now)
    const before = types.known('acme', 'job.done')
    const asked = types.find('acme', 'job.done')
    const meanwhile = types.known('acme', 'job.done')
    const found = await asked

    now = 999
    const after = types.known('acme', 'job.done')
    now = 1000
    const late = types.known('acme', 'job.done')

    expect(found).toMatchObject({ version: 1 })
    expect([before, meanwhile, late]).toEqual([undefined, undefined, undefined])
    expect(after).toBe(found)
  })

  test('that are not there are asked for each time', async () => {
    const { db, statements } = counted()
    const types = eventTypes({ db }, () => 0)
    await types.find('', 'job.done')

    expect(types.known('', 'job.done')).toBeUndefined()
    expect(await types.find('', 'job.done')).toBeNull()

    expect(statements()).toBe(3)
  })

  test('that another process has just registered are known at once', async () => {
    const { db } = database
    const types = eventTypes({ db }, () => 0)
    expect(await types.find('acme', 'job.done')).toBeNull()

    await putEventType(db, 'acme', definition())

    expect(await types.find('acme', 'job.done')).toMatchObject({ version: 1 })
  })

  test.each([
    ['changed', () => putEventType(database.db, '', definition({ channels: ['push'] })), { channels: ['push'] }],
    ['deleted', () => deleteEventType(database.db, '', 'job.done'), null],
    [
      'made its own by a company',
      () => putEventType(database.db, 'acme', definition({ channels: ['email'] })),
      { channels: ['email'] },
    ],
  ])('that another process has %s are so within a second', async (_, change, expected) => {
    await putEventType(database.db, '', definition())
    let now = 0
    const types = eventTypes({ db: database.db }, () => now)
    await types.find('acme', 'job.done')

    await change()
    now = 1000
    const found = await types.find('acme', 'job.done')

    if (expected === null) expect(found).toBeNull()
    else expect(found).toMatchObject(expected)
  })

  test('changed by this process are so at once', async () => {
    await putEventType(database.db, '', definition())
    const types = eventTypes({ db: database.db }, () => 0)
    await types.find('acme', 'job.done')
    await putEventType(database.db, '', definition({ channels: ['push'] }))

    types.changed()

    expect(await types.find('acme', 'job.done')).toMatchObject({ channels: ['push'] })
  })

  test('are asked for again after the database was away', async () => {
    let isAway = true
    await putEventType(database.db, '', definition())
    const types = eventTypes({
      db: { query: (sql, params) => (isAway ? Promise.reject(new Error('away')) : database.db.query(sql, params)) },
    })
    await expect(types.find('', 'job.done')).rejects.toThrow('away')

    isAway = false

    expect(await types.find('', 'job.done')).toMatchObject({ version: 1 })
  })
})
