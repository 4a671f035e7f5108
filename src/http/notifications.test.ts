import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { serverWith } from '../../test/http.ts'
import { putNotification } from '../../test/inbox.ts'
import type { LiveFrame } from '../bus/bus.ts'
import { memoryBus } from '../bus/memory.ts'
import { idOfUuid } from '../core/id.ts'
import { wakeSnoozed } from '../pipeline/snooze.ts'
import { notificationRoutes } from './notifications.ts'

const log = pino({ level: 'silent' })
let database: FreshDatabase
let app: FastifyInstance
let frames: LiveFrame[]
let user = 0
let anna: { companyId: string; userId: string }
const bus = memoryBus()

beforeAll(async () => {
  database = await freshDatabase()
  app = serverWith(notificationRoutes({ db: database.db, bus, log }))
  await bus.subscribe(
    (frame) => frames.push(frame),
    () => {},
  )
})
afterAll(async () => {
  await app.close()
  await database.close()
})
beforeEach(() => {
  frames = []
  user += 1
  anna = { companyId: 'acme', userId: `anna${user}` }
})

const get = async (path = '', as = anna) => {
  const headers = { authorization: `Bearer ${as.companyId}.${as.userId}` }
  const answer = await app.inject({ url: `/api/v1/notifications${path}`, headers })
  return { status: answer.statusCode, body: answer.json() }
}
const post = async (path: string, body?: object, as = anna) => {
  const headers = { authorization: `Bearer ${as.companyId}.${as.userId}` }
  const url = `/api/v1/notifications/${path}`
  const answer = await app.inject({ method: 'POST', url, headers, ...(body && { payload: body }) })
  return { status: answer.statusCode, body: answer.json() }
}
const published = async () => {
  await new Promise(setImmediate)
  return frames.filter(({ user_id }) => user_id === anna.userId)
}
const put = (options: Parameters<typeof putNotification>[2] = {}) => putNotification(database.db, anna, options)
const inAnHour = () => new Date(Date.now() + 3600_000).toISOString()
const titles = (body: { items: { title: string }[] }) => body.items.map(({ title }) => title)

suite('the list of notifications', () => {
  test('is newest first, page after page, without gap or repetition', async () => {
    for (let i = 0; i < 5; i++) await put({ title: `n${i}`, ageSeconds: i < 3 ? 10 : 5 - i })

    const first = await get('?limit=2')
    const second = await get(`?limit=2&after=${first.body.next}`)
    const third = await get(`?limit=2&after=${second.body.next}`)

    expect([first, second, third].flatMap(({ body }) => titles(body))).toEqual(['n4', 'n3', 'n2', 'n1', 'n0'])
    expect(third.body.next).toBeNull()
  })

  test('shows a notification in the words of the contract', async () => {
    const id = await put({ title: 'Hello' })

    const { body } = await get()

    expect(body.items[0]).toEqual({
      id,
      type: 'job.done',
      title: 'Hello',
      message: 'Body',
      event_id: `event-${idOfUuid(id)}`,
      level: 'info',
      cta: null,
      data: {},
      seq: 1,
      is_read: false,
      is_seen: false,
      is_archived: false,
      snoozed_until: null,
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    })
  })

  test('has a part for each status', async () => {
    await put({ title: 'unread' })
    await post(`${await put({ title: 'read' })}/read`)
    await post(`${await put({ title: 'archived' })}/archive`)
    await post(`${await put({ title: 'snoozed' })}/snooze`, { until: new Date(Date.now() + 60_000).toISOString() })
    await put({ title: 'mailed only', inApp: false })

    const parts = ['inbox', 'unread', 'read', 'archived', 'snoozed', 'all'].map((status) => get(`?status=${status}`))

    expect((await Promise.all(parts)).map(({ body }) => titles(body))).toEqual([
      ['read', 'unread'],
      ['unread'],
      ['read'],
      ['archived'],
      ['snoozed'],
      ['mailed only', 'snoozed', 'archived', 'read', 'unread'],
    ])
    expect((await get('/unread-count')).body).toEqual({ unread_count: 1 })
  })

  test('can be of one type', async () => {
    await put({ title: 'a', type: 'message.new' })
    await put({ title: 'b' })

    expect(titles((await get('?type=message.new')).body)).toEqual(['a'])
  })

  test.each([
    ['?limit=0', 'limit'],
    ['?limit=1&limit=2', 'limit'],
    ['?status=gone', 'status'],
    ['?after=nonsense', 'after'],
    [`?after=${Buffer.from('["2026-02-30T00:00:00.000Z","1"]').toString('base64url')}`, 'after'],
    [`?after=${Buffer.from('["2026-02-20T00:00:00.000Z","9223372036854775808"]').toString('base64url')}`, 'after'],
    ['?since=-1', 'since'],
    ['?since=1&after=x', 'since'],
    ['?user_id=boris', 'user_id'],
  ])('refuses %s and names the field', async (query, field) => {
    const { status, body } = await get(query)

    expect(status).toBe(400)
    expect(body.errors.map((error: { field: string }) => error.field)).toEqual([field])
  })
})

suite('changes since a seq', () => {
  test('come in order, each notification once, with the seq to ask from next', async () => {
    const a = await put({ title: 'a' })
    await put({ title: 'b' })
    await post(`${a}/read`)

    const all = (await get('?since=0')).body
    const later = (await get('?since=2')).body

    expect(titles(all)).toEqual(['b', 'a'])
    expect(all).toMatchObject({ seq: 3, reset: false })
    expect(titles(later)).toEqual(['a'])
    expect((await get('?since=3')).body).toEqual({ items: [], seq: 3, reset: false })
  })

  test('beyond what there is, or too many, ask for a new load', async () => {
    for (let i = 0; i < 101; i++) await put()

    expect((await get('?since=102')).body).toEqual({ items: [], seq: 101, reset: true })
    expect((await get('?since=0')).body).toEqual({ items: [], seq: 101, reset: true })
    expect((await get('?since=1')).body.items).toHaveLength(100)
  })

  test('of somebody without an inbox are none', async () => {
    expect((await get('?since=0')).body).toEqual({ items: [], seq: 0, reset: false })
  })
})

suite('a change', () => {
  test('takes the next seq, is told to the sessions, and done again changes nothing', async () => {
    const id = await put()

    const first = await post(`${id}/read`)
    const again = await post(`${id}/read`)

    expect(first).toMatchObject({ status: 200, body: { id, is_read: true, is_seen: true, seq: 2 } })
    expect(again).toEqual(first)
    expect(await published()).toEqual([
      {
        company_id: 'acme',
        user_id: anna.userId,
        seq: '2',
        frame: { type: 'notification_updated', data: { notification: first.body } },
      },
    ])
  })

  test.each([
    ['unread', { is_read: false }],
    ['seen', { is_seen: true }],
    ['archive', { is_archived: true }],
    ['unarchive', { is_archived: false }],
  ])('%s does what it says', async (change, expected) => {
    const id = await put()
    if (change === 'unread') await post(`${id}/read`)
    if (change === 'unarchive') await post(`${id}/archive`)

    expect((await post(`${id}/${change}`)).body).toMatchObject(expected)
  })

  test('of many at once by many leaves each change with its own seq', async () => {
    const ids = await Promise.all(Array.from({ length: 8 }, () => put()))
    const changes = ids.flatMap((id) =>
      ['read', 'read', 'seen', 'archive', 'unarchive', 'unread'].map((c) => `${id}/${c}`),
    )

    const answers = await Promise.all([...changes, 'read-all', 'seen-all', 'read-all'].map((path) => post(path)))

    expect(answers.map(({ status }) => status).every((status) => status === 200)).toBe(true)
    const seqs = (await published()).map(({ seq }) => Number(seq)).sort((a, b) => a - b)
    expect(seqs).toEqual(Array.from(seqs, (_, i) => ids.length + 1 + i))
    expect((await get('?since=0')).body.seq).toBe(seqs.at(-1))
  })

  test('made many times at once happens once', async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, () => put()))

    await Promise.all(ids.flatMap((id) => Array.from({ length: 8 }, () => post(`${id}/read`))))

    expect(await published()).toHaveLength(ids.length)
    expect((await get('?since=0')).body.seq).toBe(2 * ids.length)
  })

  test('never waits for another one in a circle', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => put()))
    const ports = { db: database.db, bus, log }
    const rounds = Array.from({ length: 5 }, () => [
      ...ids.flatMap((id) => [post(`${id}/snooze`, { until: inAnHour() }), post(`${id}/read`), post(`${id}/unread`)]),
      ...['read-all', 'seen-all'].map((path) => post(path)),
      database.db.query('update notification set snoozed_until = now() where id = $1', [idOfUuid(ids[0] ?? '')]),
      wakeSnoozed(ports),
    ])

    await Promise.all(rounds.flat())

    await database.db.query('select pg_stat_force_next_flush()')
    const [stats] = await database.db.query<{ deadlocks: string }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    )
    expect(stats?.deadlocks).toBe('0')
  })

  test('of another user, of another company, and of no notification at all answer the same', async () => {
    const id = await put()

    const answers = await Promise.all([
      post(`${id}/read`, undefined, { ...anna, userId: 'boris' }),
      post(`${id}/read`, undefined, { ...anna, companyId: 'other' }),
      post('00000000-0000-8000-8a56-576e74636e00/read'),
      post('nonsense/read'),
    ])

    for (const { status, body } of answers) {
      expect(status).toBe(404)
      expect(body).toEqual({ ...answers[0].body, request_id: body.request_id })
    }
    expect((await get('?status=unread')).body.items).toHaveLength(1)
  })

  test('of a notification that is only in the history changes nothing', async () => {
    const id = await put({ inApp: false })

    expect(await post(`${id}/read`)).toMatchObject({ status: 200, body: { seq: null, is_read: false } })
    expect(await published()).toEqual([])
  })

  test('does not take a body that it knows nothing of', async () => {
    const { status, body } = await post(`${await put()}/read`, { user_id: 'boris' })

    expect(status).toBe(400)
    expect(body.errors).toEqual([{ field: 'user_id', message: 'is not a known property' }])
  })
})

suite('reading all', () => {
  test('gives each its own seq and tells the sessions of each', async () => {
    await put()
    await put()

    const { body } = await post('read-all')

    expect(body).toEqual({ changed: 2 })
    expect((await published()).map(({ seq }) => seq)).toEqual(['3', '4'])
    expect((await post('read-all')).body).toEqual({ changed: 0 })
    expect((await get('/unread-count')).body).toEqual({ unread_count: 0 })
  })

  test('can be of one type, or of what was shown until a time', async () => {
    await put({ type: 'message.new', title: 'message' })
    await put({ title: 'old', ageSeconds: 100 })
    await put({ title: 'new' })

    await post('read-all', { type: 'message.new' })
    await post('read-all', { before: new Date(Date.now() - 50_000).toISOString() })

    expect(titles((await get('?status=unread')).body)).toEqual(['new'])
  })

  test('of very many sends the sessions to the database instead', async () => {
    for (let i = 0; i < 101; i++) await put()

    expect((await post('seen-all')).body).toEqual({ changed: 101 })
    expect(await published()).toEqual([{ company_id: 'acme', user_id: anna.userId, seq: '202', frame: null }])
  })
})

suite('snoozing', () => {
  test('hides until the time, and the sweep brings back, unread and on top', async () => {
    const id = await put({ title: 'snoozed' })
    await put({ title: 'other' })
    await post(`${id}/read`)
    await post(`${id}/snooze`, { until: inAnHour() })
    const hidden = await get()
    await database.db.query('update notification set snoozed_until = now() where id = $1', [idOfUuid(id)])
    await published()
    frames = []

    await wakeSnoozed({ db: database.db, bus, log })

    expect(titles(hidden.body)).toEqual(['other'])
    const { items } = (await get()).body
    expect(items[0]).toMatchObject({ title: 'snoozed', is_read: false, snoozed_until: null, seq: 5 })
    expect(await published()).toEqual([
      expect.objectContaining({ seq: '5', frame: { type: 'notification', data: { notification: items[0] } } }),
    ])
  })

  test('woken by two schedulers at once happens once', async () => {
    for (let i = 0; i < 5; i++) await post(`${await put()}/snooze`, { until: inAnHour() })
    await database.db.query('update notification set snoozed_until = now() where user_id = $1', [anna.userId])
    const ports = { db: database.db, bus, log }

    const counts = await Promise.all([wakeSnoozed(ports), wakeSnoozed(ports), wakeSnoozed(ports)])

    expect(counts.reduce((sum, count) => sum + count)).toBe(5)
    expect((await get('?since=0')).body.items.map(({ seq }: { seq: number }) => seq)).toEqual([11, 12, 13, 14, 15])
  })

  test.each([
    { until: '2020-01-01T00:00:00Z' },
    { until: '9999-01-01T00:00:00Z' },
    { until: 'tomorrow' },
    { until: inAnHour(), user_id: 'boris' },
    {},
  ])('refuses %j', async (body) => {
    expect((await post(`${await put()}/snooze`, body)).status).toBe(400)
  })
})
