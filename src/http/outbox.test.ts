import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { metrics } from '../metrics.ts'
import { mailOutbox } from '../store/outbox-mail.ts'
import { outboxRoutes } from './outbox.ts'
import { httpServer } from './server.ts'

let database: FreshDatabase
let app: FastifyInstance

beforeAll(async () => {
  database = await freshDatabase()
  app = httpServer(
    { log: pino({ level: 'silent' }), metrics: metrics() },
    {
      authenticate: {
        service: async (key) => ({
          keyId: key,
          companyId: key.split('_')[1] ?? '',
          scopes: key.endsWith('_blind') ? ['events:read'] : ['outbox:read'],
        }),
        user: async () => ({ userId: 'anna', companyId: 'acme', roles: [] }),
      },
    },
  )
  void app.register(outboxRoutes({ db: database.db }))
  const outbox = mailOutbox(database.db)
  for (const [n, companyId] of ['acme', 'other', 'acme', 'acme'].entries()) {
    await outbox.keep({
      messageId: `<dlv-${n}@example.com>`,
      from: 'Example <news@example.com>',
      to: 'ivan@example.org',
      subject: `Mail ${n}`,
      text: 'Hello',
      html: '<p>Hello</p>',
      companyId,
    })
  }
})
afterAll(async () => {
  await app.close()
  await database.close()
})

const get = async (path: string, key = 'sk_acme') => {
  const answer = await app.inject({ url: `/api/v1/outbox${path}`, headers: { authorization: `Bearer ${key}` } })
  return { status: answer.statusCode, body: answer.json() }
}

suite('the outbox over HTTP', () => {
  test('lists the mail of the company, newest first, page by page', async () => {
    const first = await get('?limit=2')
    const second = await get(`?limit=2&after=${first.body.next}`)

    expect(first.body.items.map((mail: { subject: string }) => mail.subject)).toEqual(['Mail 3', 'Mail 2'])
    expect(second.body).toMatchObject({ items: [{ subject: 'Mail 0', to: 'ivan@example.org' }], next: null })
  })

  test('shows one mail with its parts', async () => {
    const { body: list } = await get('?limit=1')

    const { body: mail } = await get(`/${list.items[0].id}`)

    expect(mail).toEqual({ ...list.items[0], text: 'Hello', html: '<p>Hello</p>' })
    expect(mail).toMatchObject({ message_id: '<dlv-3@example.com>', from: 'Example <news@example.com>' })
  })

  test('does not show the mail of another company', async () => {
    const { body: list } = await get('', 'sk_other')

    expect(list.items).toHaveLength(1)
    expect(await get(`/${list.items[0].id}`)).toMatchObject({ status: 404 })
  })

  test.each(['/0', '/x', '/99999999999999999999', '/-1'])('%s is not found', async (path) => {
    expect(await get(path)).toMatchObject({ status: 404 })
  })

  test.each(['?limit=0', '?limit=x', '?after=x', `?after=${Buffer.from('["x"]').toString('base64url')}`, '?page=2'])(
    '%s is refused',
    async (query) => {
      expect(await get(query)).toMatchObject({ status: 400 })
    },
  )

  test('is closed to users and to keys without the scope', async () => {
    expect(await get('', 'jwt')).toMatchObject({ status: 403 })
    expect(await get('', 'sk_acme_blind')).toMatchObject({ status: 403 })
  })
})
