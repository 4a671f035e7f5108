import { afterAll, expect, suite, test } from 'vitest'
import { SCOPES } from '../../src/core/scope.ts'
import { documented, filled, fromSomewhere, startApi, type Operation } from './operations.ts'

const server = await startApi()
afterAll(() => server.close())
const { operations } = await documented(server)
const closed = operations.filter(({ access }) => access !== 'public')
const ofUsers = operations.filter(({ access }) => access === 'user')
const ofServices = closed.filter(({ access }) => access !== 'user')

const call = async ({ method, ...operation }: Operation, authorization?: string) => {
  const headers = { ...fromSomewhere(), ...(authorization !== undefined && { authorization }) }
  const response = await fetch(new URL(filled({ method, ...operation }), server.url), { method, headers })
  return { status: response.status, body: await response.json(), headers: response.headers }
}
/** A key with every scope but this one. */
const keyWithout = async (scope: string) => {
  const { body } = await server.call('POST', '/api/v1/keys', {
    name: scope,
    scopes: SCOPES.filter((it) => it !== scope),
  })
  return body.key as string
}
const keys = new Map(
  await Promise.all(
    [...new Set(ofServices.map(({ access }) => access))].map(async (it) => [it, await keyWithout(it)] as const),
  ),
)

suite('the documented API', () => {
  test('is open to everybody only where that is meant', () => {
    const open = operations.filter(({ access }) => access === 'public').map(({ name }) => name)

    expect(open).toEqual(['GET /health', 'GET /ready'])
  })

  test('is what these tests go through', () => {
    expect(ofUsers.length).toBeGreaterThan(8)
    expect(ofServices.length).toBeGreaterThan(10)
    expect(ofServices.every(({ access }) => (SCOPES as readonly string[]).includes(access))).toBe(true)
  })
})

suite('without the right credentials', () => {
  test.each(closed)('$name is closed to callers without any', async (operation) => {
    const { status, headers, body } = await call(operation)

    expect([status, headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="eventcenter"'])
    expect(body.type).toBe('urn:eventcenter:problem:unauthorized')
  })

  test.each(closed)('$name is closed to unknown keys and tokens', async (operation) => {
    const unknown = [
      `Bearer sk_${'k'.repeat(61)}`,
      'Bearer a.b.c',
      'Basic YTpi',
      'Bearer',
      `bearer ${'x'.repeat(9000)}`,
    ]

    const answers = await Promise.all(unknown.map((authorization) => call(operation, authorization)))

    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
  })

  test.each(ofUsers)('$name is closed to services', async (operation) => {
    expect((await call(operation, `Bearer ${await keyWithout('initiator:set')}`)).status).toBe(403)
  })

  test.each(ofServices)('$name is closed to users', async (operation) => {
    const admin = await server.token('anna', { roles: ['admin', 'owner'], scopes: SCOPES, company_id: 'acme' })

    expect((await call(operation, `Bearer ${admin}`)).status).toBe(403)
  })

  test.each(ofServices)('$name is closed to keys without $access', async (operation) => {
    const { status, body } = await call(operation, `Bearer ${keys.get(operation.access)}`)

    expect([status, body.detail]).toEqual([403, `The API key has no scope \`${operation.access}\``])
  })
})
