import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { as, plainCredentials, serverWith } from '../../test/http.ts'
import { apiKeyHash } from '../core/api-key.ts'
import { findApiKey } from '../store/api-key.ts'
import type { Authenticate } from './access.ts'
import { keyRoutes } from './keys.ts'

/** `sk_keymaker` may make keys and read events, and no more. */
const authenticate: Authenticate = {
  ...plainCredentials,
  service: async (key) =>
    key === 'sk_keymaker'
      ? { keyId: key, companyId: 'acme', scopes: ['keys:write', 'events:read'] }
      : plainCredentials.service(key),
}

let database: FreshDatabase
let app: FastifyInstance
beforeAll(async () => {
  database = await freshDatabase()
  app = serverWith(keyRoutes({ db: database.db }), { authenticate })
})
afterAll(async () => {
  await app.close()
  await database.close()
})

const call = async (method: 'GET' | 'POST' | 'DELETE', path: string, key: string, payload?: object) => {
  const answer = await app.inject({ method, url: `/api/v1/keys${path}`, ...as(key), ...(payload && { payload }) })
  return { status: answer.statusCode, body: answer.body === '' ? null : answer.json() }
}
const make = (key: string, scopes: string[] = ['events:read']) => call('POST', '', key, { name: 'test', scopes })

suite('an API key', () => {
  test('works as it was made, is shown once, and is stored as a hash', async () => {
    const { status, body } = await make('sk_acme', ['events:read', 'events:write', 'events:read'])

    expect(status).toBe(201)
    expect(body).toMatchObject({ company_id: 'acme', name: 'test', scopes: ['events:read', 'events:write'] })
    expect(await findApiKey(database.db, apiKeyHash(body.key))).toEqual({
      id: body.id,
      company_id: 'acme',
      scopes: ['events:read', 'events:write'],
    })
    const list = await call('GET', '', 'sk_acme')
    expect(JSON.stringify(list.body)).toContain(body.id)
    expect(JSON.stringify(list.body)).not.toContain(body.key)
    expect(JSON.stringify(await database.db.query('select k::text from api_key k'))).not.toContain(body.key)
  })

  test('gives no right that its maker has not', async () => {
    const { status, body } = await make('sk_keymaker', ['events:read', 'users:read', 'events:write'])

    expect(status).toBe(403)
    expect(body.detail).toContain('users:read, events:write')
    expect((await make('sk_keymaker')).status).toBe(201)
  })

  test('of a company is unknown to others', async () => {
    const { body } = await make('sk_acme')

    expect((await call('DELETE', `/${body.id}`, 'sk_other')).status).toBe(404)
    expect(JSON.stringify((await call('GET', '', 'sk_other')).body)).not.toContain(body.id)
    expect(JSON.stringify((await call('GET', '', 'sk_')).body)).toContain(body.id)
  })

  test('can be ended, once and for good', async () => {
    const { body } = await make('sk_acme')

    expect((await call('DELETE', `/${body.id}`, 'sk_acme')).status).toBe(204)
    expect((await call('DELETE', `/${body.id}`, 'sk_acme')).status).toBe(404)
    expect(await findApiKey(database.db, apiKeyHash(body.key))).toBeNull()
  })

  test('is listed page by page', async () => {
    for (let i = 0; i < 3; i++) await make('sk_pages')

    const first = (await call('GET', '?limit=2', 'sk_pages')).body
    const second = (await call('GET', `?limit=2&after=${first.next}`, 'sk_pages')).body

    expect([first.items.length, second.items.length, second.next]).toEqual([2, 1, null])
  })

  test.each([
    [{ name: 'x', scopes: [] }, 'scopes'],
    [{ name: 'x', scopes: ['everything'] }, 'scopes[0]'],
    [{ name: '', scopes: ['events:read'] }, 'name'],
    [{ name: 'x', scopes: ['events:read'], expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    [{ name: 'x', scopes: ['events:read'], company_id: 'other' }, 'company_id'],
  ])('is not made of %j', async (body, field) => {
    const answer = await call('POST', '', 'sk_acme', body)

    expect([answer.status, answer.body.errors[0].field]).toEqual([400, field])
  })
})
