import { afterAll, afterEach, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { eventually, type Answer } from '../app.ts'
import { socketProxy, type SocketProxy } from '../socket-proxy.ts'
import { DATABASE_SERVERS, startDatabaseServer, type DatabaseServer } from './database-server.ts'
import { openStage, PATIENCE_MS, type Stage } from './stage.ts'

/** What a sender of events can rely on, whatever happens before it has an answer. */
suite.each(DATABASE_SERVERS)('over %s, an event', (kind) => {
  let databaseServer: DatabaseServer
  let stage: Stage
  let proxy: SocketProxy

  beforeAll(async () => {
    databaseServer = await startDatabaseServer(kind)
  })
  beforeEach(async () => {
    stage = await openStage(databaseServer)
    proxy = await socketProxy(stage.database.url)
  })
  afterEach(async () => {
    await proxy.close()
    await stage.close()
  })
  afterAll(() => databaseServer.stop())

  const event = { user_id: 'anna', type: 'job.done', title: 'Ready', body: 'Look', channels: ['ws', 'email'] }
  const numbers = async () => {
    const [row] = await stage.database.db.query<{ events: number; keys: number; deliveries: number }>(
      `select (select count(*)::integer from event) as events, (select count(*)::integer from idem) as keys,
         (select count(*)::integer from delivery) as deliveries`,
    )
    return row!
  }
  const isStored = () => stage.untilRows(1, 'select from event')

  const names = [
    ['its own id', { id: 'again' }, {}],
    ['an Idempotency-Key', {}, { 'idempotency-key': 'again' }],
  ] as const

  test.each(names)(
    'whose process was killed between commit and answer is one when sent again by %s (F-01)',
    async (_, id, headers) => {
      const first = await stage.start('api', { DATABASE_URL: proxy.url })
      proxy.loseAnswers(event.title)
      const unanswered = ended(first.call('POST', '/api/v1/events', { ...event, ...id }, headers))
      await isStored()
      await first.end('SIGKILL')
      expect(await unanswered).toBeNull()

      const second = await stage.start('api')
      const answer = await second.call('POST', '/api/v1/events', { ...event, ...id }, headers)

      expect(answer.status).toBe(202)
      expect(answer.headers.get('idempotency-replayed')).toBe('true')
      expect(answer.body.jobs_count).toBe(2)
      expect(await numbers()).toEqual({ events: 1, keys: 1, deliveries: 2 })
    },
  )

  test.each(names)(
    'whose process was killed before the commit is not stored, and is stored once when sent again by %s (F-02)',
    async (_, id, headers) => {
      const first = await stage.start('api', { DATABASE_URL: proxy.url })
      const stopped = proxy.stopAfter(event.title, 'asked', 100)
      const unanswered = ended(first.call('POST', '/api/v1/events', { ...event, ...id }, headers))
      await stopped
      await first.end('SIGKILL')
      expect(await unanswered).toBeNull()
      await stage.nobodyWorks()
      expect(await numbers()).toEqual({ events: 0, keys: 0, deliveries: 0 })

      const second = await stage.start('api')
      const answer = await second.call('POST', '/api/v1/events', { ...event, ...id }, headers)

      expect(answer.status).toBe(202)
      expect(answer.headers.get('idempotency-replayed')).toBeNull()
      expect(await numbers()).toEqual({ events: 1, keys: 1, deliveries: 2 })
    },
  )

  test('whose process was killed while its statement waited for a lock is one, or none until sent again (F-02)', async () => {
    const first = await stage.start('api')
    const keys = { 'idempotency-key': 'waiting' }
    const unlock = await stage.lock('delivery', 'share row exclusive')
    const unanswered = ended(first.call('POST', '/api/v1/events', { id: 'waiting', ...event }, keys))
    await stage.someoneWaits()
    await first.end('SIGKILL')
    await unlock()
    expect(await unanswered).toBeNull()
    await stage.nobodyWorks()
    expect([
      { events: 0, keys: 0, deliveries: 0 },
      { events: 1, keys: 2, deliveries: 2 },
    ]).toContainEqual(await numbers())

    const second = await stage.start('api')
    const answer = await second.call('POST', '/api/v1/events', { id: 'waiting', ...event }, keys)

    expect(answer.status).toBe(202)
    expect(await numbers()).toEqual({ events: 1, keys: 2, deliveries: 2 })
  })

  test('sent two hundred times at once to two processes is one event and one mail (F-03)', async () => {
    const servers = await Promise.all([stage.start('api,scheduler,worker'), stage.start('api')])
    await servers[0].call('PUT', '/api/v1/users/anna', { email: 'anna@example.com' })

    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => servers[n % 2]!.call('POST', '/api/v1/events', { id: 'same', ...event })),
    )

    const statuses = answers.map(({ status }) => status)
    expect([...new Set(statuses)].filter((status) => ![202, 409].includes(status))).toEqual([])
    const accepted = answers.filter(({ status }) => status === 202)
    expect(accepted.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1)
    expect(await numbers()).toEqual({ events: 1, keys: 1, deliveries: 2 })
    await stage.ends('same', 'SENT')
    expect(stage.receiver.received()).toHaveLength(1)
  })

  test('sent again with another body is refused and changes nothing (F-04)', async () => {
    const server = await stage.start('api')
    await server.call('POST', '/api/v1/events', { id: 'known', ...event }, { 'idempotency-key': 'k' })
    const before = await numbers()

    const other = { ...event, title: 'Other' }
    const answers = [
      await server.call('POST', '/api/v1/events', { id: 'known', ...other }),
      await server.call('POST', '/api/v1/events', { id: 'other', ...event }, { 'idempotency-key': 'k' }),
      await server.call('POST', '/api/v1/events/batch', {
        events: [
          { id: 'new', ...event },
          { id: 'known', ...other },
        ],
      }),
    ]

    expect(answers.map(({ status }) => status)).toEqual([422, 422, 422])
    expect(await numbers()).toEqual(before)
    expect((await server.call('GET', '/api/v1/events/known')).body.event.title).toBe('Ready')
  })

  test('for a thousand people, whose process is killed at twenty points of storing it, tells each of them once (F-07)', async () => {
    const users = Array.from({ length: 1000 }, (_, n) => `user-${n}`)
    const type = { type: 'news', recipients: { path: 'data.users' }, channels: ['ws', 'email'] }
    const at = new Date().toISOString()
    const news = { event_id: 'thousand', event_type: 'news', source: 'paper', occurred_at: at, payload: { users } }
    const keys = { 'idempotency-key': 'thousand' }
    const send = (to: typeof first) => ended(to.call('POST', '/api/v1/events', news, keys))
    const first = await stage.start('api')
    expect((await first.call('POST', '/api/v1/event-types', type)).status).toBe(201)
    const whole = await measure({ ...news, event_id: 'measured' })

    const points = [...spread('asked', whole.asked), ...spread('answered', whole.answered)]
    const stored: number[] = []
    for (const [direction, bytes] of points) {
      const server = await stage.start('api', { DATABASE_URL: proxy.url })
      const stopped = proxy.stopAfter('thousand', direction, bytes)
      const unanswered = send(server)
      await Promise.race([stopped, unanswered])
      await server.end('SIGKILL')
      await unanswered
      await stage.nobodyWorks()
      proxy.cut()
      stored.push((await numbers()).deliveries - 2000)
    }
    const answer = await send(first)

    expect(points).toHaveLength(20)
    expect([...new Set(stored)]).toEqual([0, 2000]) // nothing, and then all
    expect(answer!.status).toBe(202)
    expect(answer!.headers.get('idempotency-replayed')).toBe('true')
    const told = await stage.database.db.query(
      `select user_id from delivery group by user_id having count(*) = 4 and count(distinct (event_id, channel)) = 4`,
    )
    expect(told).toHaveLength(1000)

    async function measure(body: typeof news) {
      const server = await stage.start('api', { DATABASE_URL: proxy.url })
      void proxy.stopAfter(body.event_id, 'asked')
      const answered = await server.call('POST', '/api/v1/events', body, { 'idempotency-key': 'measured' })
      expect(answered.status).toBe(202)
      const carried = { ...proxy.carried() }
      await server.end('SIGTERM')
      proxy.cut()
      return carried
    }
  }, 300_000)

  test.each(names)(
    'whose commit the database did not answer is one when sent again by %s (F-11)',
    async (_, id, headers) => {
      const server = await stage.start('api', { DATABASE_URL: proxy.url })
      proxy.loseAnswers(event.title)
      const unknown = server.call('POST', '/api/v1/events', { ...event, ...id }, headers)
      await isStored()
      proxy.cut()

      const first = await unknown
      expect(first.status).toBe(503)
      expect(Number(first.headers.get('retry-after'))).toBeGreaterThan(0)
      const second = await eventually(
        async () => {
          const answer = await server.call('POST', '/api/v1/events', { ...event, ...id }, headers)
          return answer.status === 503 ? null : answer
        },
        'the database again',
        PATIENCE_MS,
      )

      expect(second.status).toBe(202)
      expect(second.headers.get('idempotency-replayed')).toBe('true')
      expect(await numbers()).toEqual({ events: 1, keys: 1, deliveries: 2 })
    },
  )
})

const ended = (answer: Promise<Answer>): Promise<Answer | null> => answer.catch(() => null)

/** Ten points between the first byte and the last. */
const spread = (direction: 'asked' | 'answered', bytes: number) =>
  Array.from({ length: 10 }, (_, n) => [direction, Math.floor(((bytes - 1) * n) / 9)] as const)
