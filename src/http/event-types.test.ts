import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { metrics } from '../metrics.ts'
import { eventTypes } from '../store/event-types.ts'
import { eventTypeRoutes } from './event-types.ts'
import { httpServer } from './server.ts'

const log = pino({ level: 'silent' })
let database: FreshDatabase
let app: FastifyInstance
let types: ReturnType<typeof eventTypes>

beforeAll(async () => {
  database = await freshDatabase()
  // A clock that stands still: what is found was not found because time has passed.
  types = eventTypes({ db: database.db }, () => 0)
  app = httpServer(
    { log, metrics: metrics() },
    {
      authenticate: {
        service: async (key) => {
          const [companyId = '', right] = key.slice(3).split('.')
          const scopes =
            right === 'read' ? (['event-types:read'] as const) : (['event-types:read', 'event-types:write'] as const)
          return { keyId: key, companyId, scopes }
        },
        user: async () => null,
      },
    },
  )
  void app.register(eventTypeRoutes({ db: database.db, eventTypes: types }))
})
afterAll(async () => {
  await app.close()
  await database.close()
})
beforeEach(async () => {
  await database.db.query('truncate event_type')
  types.changed()
})

async function call(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object | null, company = 'acme') {
  const headers = { authorization: `Bearer sk_${company}` }
  const answer = await app.inject({
    method,
    url: `/api/v1/event-types${path}`,
    headers,
    ...(body && { payload: body }),
  })
  return { status: answer.statusCode, body: answer.body === '' ? null : answer.json() }
}

const done = {
  type: 'job.done',
  description: 'It is done',
  schema: { type: 'object', properties: { job_id: { type: 'string' } }, required: ['job_id'] },
  recipients: { path: 'data.user_ids', include_initiator: true },
  channels: ['ws', 'push'],
  allowed_channels: ['ws', 'push', 'email'],
  template_code: 'ready',
  level: 'warning',
  lane: 'broadcast',
  priority: 'high',
  category: 'jobs',
  collapse_path: 'data.job_id',
  is_silent: false,
  time_to_live_seconds: 60,
}
const minimal = { type: 'job.done', recipients: { path: 'user_id' }, channels: ['ws'] }
const fieldsOf = ({ body }: { body: { errors?: { field: string }[] } }) => body.errors?.map(({ field }) => field)

suite('an event type over HTTP', () => {
  test('is registered, read, changed and deleted, and each counts at once', async () => {
    const created = await call('POST', '', done)
    expect(created).toMatchObject({ status: 201, body: { ...done, company_id: 'acme', version: 1 } })
    expect(await types.find('acme', 'job.done')).toMatchObject({ version: 1 })

    const changed = await call('PUT', '/job.done', { ...minimal, version: 1 })
    expect(changed).toMatchObject({ status: 200, body: { ...minimal, version: 2 } })
    expect(await types.find('acme', 'job.done')).toMatchObject({ version: 2, channels: ['ws'] })
    expect((await call('GET', '/job.done')).body).toEqual(changed.body)
    expect(changed.body).not.toHaveProperty('schema')

    expect((await call('DELETE', '/job.done')).status).toBe(204)
    expect(await types.find('acme', 'job.done')).toBeNull()
    expect((await call('GET', '/job.done')).status).toBe(404)
  })

  test('that exists is a conflict, and so is a change of an old version', async () => {
    await call('POST', '', minimal)

    expect((await call('POST', '', minimal)).status).toBe(409)
    expect((await call('PUT', '/job.done', { ...minimal, version: 2 })).status).toBe(409)
    expect((await call('PUT', '/other', { ...minimal, type: 'other' })).status).toBe(404)
    expect(fieldsOf(await call('PUT', '/other', minimal))).toEqual(['type'])
  })

  test.each([
    ['an unknown property', { version_note: 'x' }, ['version_note']],
    ['a name with a path', { type: '../x' }, ['type']],
    ['an unreadable recipients path', { recipients: { path: 'data.__proto__..x' } }, ['recipients.path']],
    ['a path into the prototype', { recipients: { path: 'constructor' } }, ['recipients.path']],
    ['no channel', { channels: [] }, ['channels']],
    ['a channel twice', { channels: ['ws', 'ws'] }, ['channels']],
    ['a default channel that is not allowed', { channels: ['ws', 'email'], allowed_channels: ['ws'] }, ['channels[1]']],
    ['the lane of retries', { lane: 'retry' }, ['lane']],
    ['a remote reference', { schema: { $ref: 'https://example.com/x' } }, ['schema.$ref']],
    ['a schema of nonsense', { schema: { type: 'object', minProperties: -1 } }, ['schema.minProperties']],
    ['an endless pattern', { schema: { type: 'string', pattern: '(?=a)' } }, ['schema']],
    ['no time to live', { time_to_live_seconds: 0 }, ['time_to_live_seconds']],
  ])('with %s is refused', async (_, change, fields) => {
    const answer = await call('POST', '', { ...minimal, ...change })

    expect([answer.status, fieldsOf(answer)]).toEqual([400, fields])
  })

  test('of another company does not exist', async () => {
    await call('POST', '', minimal)

    for (const company of ['other', '']) {
      expect((await call('GET', '/job.done', null, company)).status).toBe(404)
      expect((await call('PUT', '/job.done', minimal, company)).status).toBe(404)
      expect((await call('DELETE', '/job.done', null, company)).status).toBe(404)
      expect((await call('GET', '', null, company)).body.items).toEqual([])
    }
  })

  test('of the platform is read by companies, changed by the platform, and may be replaced by an own one', async () => {
    await call('POST', '', minimal, '')

    expect((await call('GET', '/job.done')).body).toMatchObject({ company_id: null })
    expect((await call('PUT', '/job.done', minimal)).status).toBe(403)
    expect((await call('DELETE', '/job.done')).status).toBe(403)
    expect((await call('POST', '', { ...minimal, channels: ['email'] })).status).toBe(201)
    expect((await call('GET', '')).body.items).toMatchObject([{ company_id: 'acme', channels: ['email'] }])
    expect((await call('PUT', '/job.done', minimal, '')).status).toBe(200)
  })

  test('is not written with a key that may only read', async () => {
    expect((await call('POST', '', minimal, 'acme.read')).status).toBe(403)
    expect((await call('GET', '', null, 'acme.read')).status).toBe(200)
  })

  test('is listed page by page', async () => {
    for (const type of ['a', 'b', 'c']) await call('POST', '', { ...minimal, type })

    const first = await call('GET', '?limit=2')
    const second = await call('GET', `?limit=2&after=${first.body.next}`)

    expect([...first.body.items, ...second.body.items].map(({ type }) => type)).toEqual(['a', 'b', 'c'])
    expect(second.body.next).toBeNull()
  })
})
