import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { as, serverWith } from '../../test/http.ts'
import type { Channel } from '../channels/channel.ts'
import { parseAddress } from '../core/email-address.ts'
import { userRoutes } from './users.ts'

const channel = (name: string, more: Partial<Channel> = {}): Channel => ({
  name,
  bodyFormat: 'text',
  isInbox: false,
  prefersOwnText: true,
  isIdempotent: true,
  onUncertain: 'resend',
  retrySeconds: [],
  address: () => null,
  send: async () => ({}),
  ...more,
})

let database: FreshDatabase
let app: FastifyInstance
beforeAll(async () => {
  database = await freshDatabase()
  const channels = new Map([
    ['email', channel('email', { parseAddress })],
    ['live', channel('live')],
  ])
  app = serverWith(userRoutes({ db: database.db, channels }))
})
afterAll(async () => {
  await app.close()
  await database.close()
})

const call = async (method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, payload?: object, key = 'sk_acme') => {
  const answer = await app.inject({ method, url: `/api/v1/users/${path}`, ...as(key), ...(payload && { payload }) })
  return { status: answer.statusCode, body: answer.body === '' ? null : answer.json() }
}
const values = async (email: unknown) =>
  (await call('PUT', 'boris', { email })).body.addresses.map(({ value }: { value: string }) => value)
const fieldsOf = ({ body }: { body: { errors: { field: string }[] } }) => body.errors.map(({ field }) => field)

suite('a user in the directory', () => {
  test('is what a service said, in canonical form', async () => {
    const answer = await call('PUT', 'anna', {
      email: ['Anna@Example.COM', 'Anna@example.com', 'anna@пример.рф'],
      locale: 'ru-ru',
      time_zone: 'Europe/Moscow',
      profile: { name: 'Анна', children: [{ name: 'Пётр' }] },
    })

    expect(answer).toEqual({
      status: 200,
      body: {
        user_id: 'anna',
        locale: 'ru-RU',
        time_zone: 'Europe/Moscow',
        profile: { name: 'Анна', children: [{ name: 'Пётр' }] },
        addresses: [
          { channel: 'email', value: 'Anna@example.com', state: 'active' },
          { channel: 'email', value: 'anna@xn--e1afmkfd.xn--p1ai', state: 'active' },
        ],
      },
    })
    expect(await call('GET', 'anna')).toEqual(answer)
  })

  test('can have one address, another one, and none', async () => {
    expect(await values('1@example.com')).toEqual(['1@example.com'])
    expect(await values('2@example.com')).toEqual(['2@example.com'])
    expect(await values(null)).toEqual([])
  })

  test('is another one in another company', async () => {
    await call('PUT', 'carl', { locale: 'en' })
    await call('PUT', 'carl', { locale: 'ru' }, 'sk_other')

    expect((await call('GET', 'carl')).body.locale).toBe('en')
    expect((await call('DELETE', 'carl', undefined, 'sk_third')).status).toBe(404)
  })

  test('is erased with profile and addresses', async () => {
    await call('PUT', 'dora', { email: 'd@example.com' })

    expect((await call('DELETE', 'dora')).status).toBe(204)
    expect((await call('GET', 'dora')).status).toBe(404)
    expect((await call('DELETE', 'dora')).status).toBe(404)
  })

  test.each([
    [{ email: 'no address' }, 'email'],
    [{ email: ['a@example.com', 'b@example.com\r\nBcc: c@example.com'] }, 'email[1]'],
    [{ email: Array.from({ length: 11 }, (_, i) => `${i}@example.com`) }, 'email'],
    [{ live: 'anna' }, 'live'],
    [{ addresses: { email: ['a@example.com'] } }, 'addresses'],
    [{ locale: 'russian language' }, 'locale'],
    [{ time_zone: 'Moscow/Europe' }, 'time_zone'],
    [{ time_zone: '+03:00' }, 'time_zone'],
    [{ profile: 'Anna' }, 'profile'],
    [{ profile: { text: 'x'.repeat(20_000) } }, 'profile'],
    [{ company_id: 'other' }, 'company_id'],
    [{ user_id: 'boris' }, 'user_id'],
  ])('is not made of %j', async (body, field) => {
    const answer = await call('PUT', 'wrong', body)

    expect([answer.status, fieldsOf(answer)]).toEqual([400, [field]])
    expect(JSON.stringify(answer.body)).not.toContain('example.com')
  })

  test.each(['%0a', 'x'.repeat(201), '%00'])('is not called %s', async (id) => {
    expect((await call('PUT', id, {})).status).toBe(400)
  })
})

suite('a batch of users', () => {
  test('is kept as a whole', async () => {
    const users = Array.from({ length: 1000 }, (_, i) => ({ user_id: i, email: `${i}@example.com` }))

    expect(await call('POST', 'batch', { users })).toEqual({ status: 200, body: { users: 1000 } })
    expect((await call('GET', '999')).body.addresses[0].value).toBe('999@example.com')
  })

  test('with one fault or one user twice is refused as a whole, saying where', async () => {
    const fault = await call('POST', 'batch', { users: [{ user_id: 'e1' }, { user_id: 'e2', email: 'nobody' }] })
    const twice = await call('POST', 'batch', { users: [{ user_id: 'e1' }, { user_id: 'e2' }, { user_id: 'e1' }] })

    expect([fault.status, fieldsOf(fault)]).toEqual([400, ['users[1].email']])
    expect([twice.status, fieldsOf(twice)]).toEqual([400, ['users[2].user_id']])
    expect((await call('GET', 'e1')).status).toBe(404)
  })
})
