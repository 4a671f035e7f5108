import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury, type Burial } from '../../test/dead-letters.ts'
import {
  countDeadLetters,
  findDeadLetter,
  groupDeadLetters,
  listDeadLetters,
  type LetterFilter,
} from './dead-letters.ts'
import { putEventType } from './event-type.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
  const type = { type: 'test.happened', recipients: { path: 'user_id' }, channels: ['email'] }
  await putEventType(database.db, '', type)
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate event, delivery, dead, attempt_log'))

suite('the reasons of dead letters', () => {
  test.each([
    ['450 4.2.1 try later', '450 4.2.1 try later'],
    ['450 try later (attempt 8 was the last)', '450 try later'],
    ['no such user anna@example.com', 'no such user #'],
    ['job 018f2c3e-aaaa-7bbb-8ccc-0123456789ab refused', 'job # refused'],
    ['at 2026-03-01T09:30:00.123Z: closed', 'at #: closed'],
    ['queued as 4XyZ12abcd99Q', 'queued as #'],
    ['waited 30000 ms', 'waited # ms'],
    ['missing variable data.name', 'missing variable data.name'],
    ['no template "job.done" for email in ru-RU, ru', 'no template "job.done" for email in ru-RU, ru'],
    ['x'.repeat(300), 'x'.repeat(200)],
  ])('%s is of the group %s', async (reason, group) => {
    await bury(database.db, 1, { reason })

    const groups = await groupDeadLetters(database.db, '', {}, 10)

    expect(groups).toMatchObject([{ reason: group, count: 1 }])
  })

  test('are counted together, the most frequent first', async () => {
    const { db } = database
    await bury(db, 1, { reason: 'timeout after 1000 ms', channel: 'sms' })
    await bury(db, 2, { reason: 'timeout after 2000 ms', daysAgo: 2 })
    await bury(db, 1, { reason: 'timeout after 3000 ms' })
    await bury(db, 1, { reason: 'silence', kind: 'uncertain' })
    await bury(db, 5, { reason: 'theirs', companyId: 'other' })

    const groups = await groupDeadLetters(db, '', {}, 10)

    const letter = { kind: 'failed', channel: 'email', type: 'test.happened' }
    expect(groups).toMatchObject([
      { ...letter, reason: 'timeout after # ms', count: 3 },
      { ...letter, reason: 'silence', kind: 'uncertain', count: 1 },
      { ...letter, reason: 'timeout after # ms', channel: 'sms', count: 1 },
    ])
    const [first] = groups
    expect(Date.parse(first?.last_at ?? '') - Date.parse(first?.first_at ?? '')).toBeGreaterThan(86_400_000)
  })
})

suite('dead letters', () => {
  const yesterday = new Date(Date.now() - 86_400_000).toISOString()
  test.each<[LetterFilter, Burial, Burial]>([
    [{ kind: 'uncertain' }, { kind: 'uncertain' }, {}],
    [{ channel: 'sms' }, { channel: 'sms' }, {}],
    [{ type: 'other.thing' }, { type: 'other.thing', eventTypeId: '1' }, {}],
    [{ reason: 'timeout after # ms' }, { reason: 'timeout after 5000 ms' }, {}],
    [{ since: yesterday }, {}, { daysAgo: 2 }],
    [{ until: yesterday }, { daysAgo: 2 }, {}],
    [{ kind: 'failed', channel: 'sms' }, { channel: 'sms' }, { channel: 'sms', kind: 'uncertain' }],
  ])('are found by %j', async (filter, fitting, other) => {
    const ids = await bury(database.db, 1, fitting)
    await bury(database.db, 1, other)

    const found = await listDeadLetters(database.db, '', filter, { after: null, limit: 10 })

    expect(found.map(({ id }) => id)).toEqual(ids)
    expect(await countDeadLetters(database.db, '', filter)).toMatchObject({ count: 1 })
  })

  test('are listed newest first, each once, page by page', async () => {
    const { db } = database
    const old = await bury(db, 3, { daysAgo: 1 })
    const young = await bury(db, 2)
    await bury(db, 1, { companyId: 'other' })

    const seen: string[] = []
    let after: { at: string; id: string } | null = null
    for (;;) {
      const page: { at: string; id: string }[] = await listDeadLetters(db, '', {}, { after, limit: 2 })
      seen.push(...page.map(({ id }) => id))
      if (page.length < 2) break
      after = page.at(-1) ?? null
    }

    expect(seen).toEqual([...young.toReversed(), ...old.toReversed()])
  })

  test('count those that cannot be sent apart', async () => {
    await bury(database.db, 3)
    await bury(database.db, 2, { expiresInSeconds: -5 })
    await bury(database.db, 1, { isCancelled: true, expiresInSeconds: -5 })

    expect(await countDeadLetters(database.db, '', {})).toEqual({ count: 3, expired: 2, cancelled: 1 })
  })

  test('have everything that went into them', async () => {
    const { db } = database
    const [id = ''] = await bury(db, 1, { data: { a: 1 }, vars: { b: 2 }, templateId: '5', attempts: 2 })

    const letter = await findDeadLetter(db, '', id)

    expect(letter).toMatchObject({
      id,
      event: { type: 'test.happened', data: { a: 1 } },
      vars: { b: 2 },
      template_id: '5',
      event_type_version: 1,
      current_event_type_version: 1,
      attempts: [
        { n: 1, verdict: 'retry', message: 'refused' },
        { n: 2, verdict: 'retry', message: 'refused' },
      ],
    })
    expect(await findDeadLetter(db, 'other', id)).toBeNull()
  })
})
