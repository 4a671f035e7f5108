import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { pino } from 'pino'
import { expect, suite, test } from 'vitest'
import { z } from 'zod'
import { AppError } from '../core/errors.ts'
import { type Authenticate, initiatedBy } from './access.ts'
import { metrics } from '../metrics.ts'
import { operationsRoutes } from './operations.ts'
import { httpServer } from './server.ts'

const KEYS: Record<string, Awaited<ReturnType<Authenticate['service']>>> = {
  sk_platform: { keyId: 'k1', companyId: '', scopes: ['events:write', 'initiator:set'] },
  sk_acme: { keyId: 'k2', companyId: 'acme', scopes: ['events:write'] },
  sk_reader: { keyId: 'k3', companyId: 'acme', scopes: ['events:read'] },
}
const authenticate: Authenticate = {
  service: async (key) => KEYS[key] ?? null,
  user: async (token) => (token === 'jwt' ? { userId: 'anna', companyId: 'acme', roles: [] } : null),
}

const routes: FastifyPluginAsyncZod = async (app) => {
  app.post('/things', {
    config: { access: { scope: 'events:write' } },
    schema: {
      body: z.strictObject({ name: z.string(), inner: z.strictObject({ size: z.number() }).optional() }),
      response: { 200: z.object({ company_id: z.string(), initiated_by: z.unknown() }) },
    },
    handler: (request) => ({
      company_id: request.caller?.companyId ?? '?',
      initiated_by: initiatedBy(request) ?? null,
    }),
  })
  app.get('/mine', { config: { access: 'user' }, handler: (request) => ({ caller: request.caller }) })
  app.get('/bug', {
    config: { access: 'public' },
    handler: () => {
      throw Object.assign(new Error('secret of the database'), { statusCode: 404 })
    },
  })
  app.get('/away', {
    config: { access: 'public' },
    handler: () => {
      throw new AppError('unavailable', 'The database is away')
    },
  })
}

const start = (log = pino({ level: 'silent' })) => {
  const app = httpServer({ log, metrics: metrics() }, { authenticate })
  void app.register(operationsRoutes({ log, metrics: metrics() }, []))
  void app.register(routes)
  return app
}

const as = (token: string, headers: object = {}): { headers: Record<string, string> } => ({
  headers: { authorization: `Bearer ${token}`, ...headers },
})

suite('access', () => {
  test('a route that does not say who may call it stops the start', async () => {
    const app = start()
    void app.register(async (app) => {
      app.get('/forgotten', () => 'x')
    })

    await expect(app.ready()).rejects.toThrow('GET /forgotten must say who may call it')
  })

  test('a route that is neither public nor documented stops the start', async () => {
    const app = start()
    void app.register(async (app) => {
      app.get('/secret', { config: { access: 'user' }, schema: { hide: true } }, () => 'x')
    })

    await expect(app.ready()).rejects.toThrow('GET /secret is not public, so it must be documented')
  })

  test('a route that would drop unknown properties stops the start', async () => {
    const app = start()
    void app.register(async (app) => {
      const body = z.strictObject({ list: z.array(z.object({ a: z.string() })).optional() })
      app.post('/loose', { config: { access: 'public' }, schema: { body } }, () => 'x')
    })

    await expect(app.ready()).rejects.toThrow('POST /loose takes a z.object')
  })

  test.each([
    ['no credentials', {}, 401],
    ['an unknown key', as('sk_unknown'), 401],
    ['a user token', as('jwt'), 403],
    ['a key without the scope', as('sk_reader'), 403],
    ['a foreign company', as('sk_acme', { 'x-company-id': 'other' }), 403],
    ['its own company', as('sk_acme', { 'x-company-id': 'acme' }), 200],
    ['two lines in a header', as('sk_platform', { 'x-company-id': 'ä' }), 400],
  ])(
    '%s on a service route answers as it must',
    async (_, { headers }: { headers?: Record<string, string> }, status) => {
      const answer = await start().inject({
        method: 'POST',
        url: '/things',
        headers: headers ?? {},
        payload: { name: 'x' },
      })

      expect(answer.statusCode).toBe(status)
      expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Bearer realm="eventcenter"' : undefined)
    },
  )

  test.each([
    ['no credentials', {}, 401],
    ['a broken token', as('nonsense'), 401],
    ['a service key', as('sk_platform'), 403],
    ['his token', as('jwt'), 200],
  ])('%s on a user route answers as it must', async (_, { headers }: { headers?: Record<string, string> }, status) => {
    const answer = await start().inject({ url: '/mine', headers: headers ?? {} })

    expect(answer.statusCode).toBe(status)
  })

  test('a platform key acts for the company it names, and its word on the initiator counts', async () => {
    const headers = { 'x-company-id': 'acme', 'x-initiated-by-user-id': 'boris', 'x-initiated-by-role': 'admin' }

    const answer = await start().inject({
      method: 'POST',
      url: '/things',
      ...as('sk_platform', headers),
      payload: { name: 'x' },
    })

    expect(answer.json()).toEqual({ company_id: 'acme', initiated_by: { user_id: 'boris', role: 'admin' } })
  })

  test('the initiator headers of a key without the scope do not count', async () => {
    const headers = { 'x-initiated-by-user-id': 'boris' }

    const answer = await start().inject({
      method: 'POST',
      url: '/things',
      ...as('sk_acme', headers),
      payload: { name: 'x' },
    })

    expect(answer.json()).toEqual({ company_id: 'acme', initiated_by: null })
  })
})

suite('a problem', () => {
  test('names each field at fault', async () => {
    const answer = await start().inject({
      method: 'POST',
      url: '/things',
      ...as('sk_acme'),
      payload: { nam: 'x', inner: { size: 'big', extra: 1 } },
    })

    expect(answer.statusCode).toBe(400)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(answer.json()).toMatchObject({ type: 'urn:eventcenter:problem:invalid', title: 'Bad Request', status: 400 })
    expect(answer.json().errors.map(({ field }: { field: string }) => field)).toEqual([
      'name',
      'inner.size',
      'inner.extra',
      'nam',
    ])
    expect(answer.json().request_id).toBe(answer.headers['x-request-id'])
  })

  test('of ours tells nothing of its cause and is logged once', async () => {
    const lines: string[] = []
    const app = start(pino({ level: 'info' }, { write: (line: string) => lines.push(line) }))

    const answer = await app.inject({ url: '/bug' })

    expect(answer.statusCode).toBe(500)
    expect(answer.body).not.toContain('secret')
    const logged = lines.filter((line) => line.includes('request failed'))
    expect(logged).toHaveLength(1)
    expect(logged[0]!.match(/"requestId":"[^"]*"/g)).toEqual([`"requestId":"${answer.json().request_id}"`])
  })

  test('of a dependency says when to come back', async () => {
    const answer = await start().inject({ url: '/away' })

    expect(answer.statusCode).toBe(503)
    expect(answer.headers['retry-after']).toBe('5')
  })

  test('answers an unknown address', async () => {
    const answer = await start().inject({ url: '/nowhere' })

    expect(answer.statusCode).toBe(404)
    expect(answer.json()).toMatchObject({ type: 'urn:eventcenter:problem:not-found' })
  })
})
