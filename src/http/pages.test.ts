import { pino } from 'pino'
import { afterEach, expect, suite, test } from 'vitest'
import type { FastifyInstance } from 'fastify'
import { metrics } from '../metrics.ts'
import { authenticator } from './authenticate.ts'
import { demoKey, type Demo } from './demo.ts'
import { pageRoutes } from './pages.ts'
import { httpServer } from './server.ts'
import { userTokens } from './user-token.ts'

let app: FastifyInstance | undefined

afterEach(() => app?.close())

const tokens = userTokens({ secret: 'a secret of the tests, at least 32 bytes long' })

const sign: Demo['sign'] = (claims) => tokens.sign?.(claims) ?? Promise.reject(new Error('There is no secret'))

async function serve({ isDemo }: { isDemo: boolean }): Promise<FastifyInstance> {
  const none = { service: async () => null, user: async () => null }
  app = httpServer({ log: pino({ level: 'silent' }), metrics: metrics() }, { authenticate: none })
  const demo = isDemo ? { key: demoKey(), sign } : null
  await app.register(pageRoutes({ demo, publicUrl: () => 'https://notify.example.org' }))
  return app
}

const session = async (headers: Record<string, string>) =>
  (await serve({ isDemo: true })).inject({ method: 'POST', url: '/demo/session', headers })

suite('the demo session', () => {
  test.each([
    ['127.0.0.1:3000', 'http://127.0.0.1:3000'],
    ['localhost:3000', 'http://localhost:3000'],
    ['[::1]:3000', 'http://[::1]:3000'],
    ['notify.example.org', 'https://notify.example.org'],
  ])('is given to a page of %s', async (host, origin) => {
    const answer = await session({ host, origin })

    expect(answer.statusCode).toBe(200)
    expect(answer.headers['cache-control']).toBe('no-store')
    const { user_id, user_token } = answer.json()
    expect(await tokens.verify(user_token)).toMatchObject({ userId: user_id, companyId: '' })
  })

  test.each([
    ['evil.example:3000', 'http://evil.example:3000'], // its name points here (DNS rebinding)
    ['localhost.evil.example', 'http://localhost.evil.example'],
    ['127.0.0.1.evil.example', 'http://127.0.0.1.evil.example'],
    ['127.0.0.1:3000', 'http://evil.example'],
    ['127.0.0.1:3000', 'http://127.0.0.1:3001'],
    ['127.0.0.1:3000', 'null'],
    ['127.0.0.1:3000', ''],
    ['evil.example', 'https://notify.example.org'],
  ])('is refused to %s with the origin %s', async (host, origin) => {
    const answer = await session({ host, origin })

    expect(answer.statusCode).toBe(403)
    expect(answer.body).not.toContain('sk_')
  })

  test('is refused without an origin', async () => {
    expect((await session({ host: 'localhost' })).statusCode).toBe(403)
  })

  test('has a key with few rights, another one in every process', async () => {
    const [one, other] = [demoKey(), demoKey()]
    const known = authenticator({ db: { query: async () => [] } as never }, tokens, [one])

    expect(await known.service(one.key)).toMatchObject({ scopes: expect.not.arrayContaining(['keys:write']) })
    expect(await known.service(other.key)).toBeNull()
  })

  test('does not exist without the demo', async () => {
    const server = await serve({ isDemo: false })

    const answer = await server.inject({
      method: 'POST',
      url: '/demo/session',
      headers: { origin: 'http://localhost' },
    })

    expect(answer.statusCode).toBe(404)
  })
})

suite('pages', () => {
  test('allow only scripts of this server, and no frame around them', async () => {
    const server = await serve({ isDemo: true })

    for (const url of ['/', '/outbox']) {
      const { statusCode, headers } = await server.inject(url)
      expect(statusCode).toBe(200)
      expect(headers['content-type']).toBe('text/html; charset=utf-8')
      expect(headers['content-security-policy']).toContain(`script-src 'self'`)
      expect(headers['content-security-policy']).toContain(`frame-ancestors 'none'`)
      expect(headers['content-security-policy']).not.toMatch(/(script|default)-src[^;]*unsafe/)
      expect(headers['cache-control']).toBe('no-cache')
    }
  })

  test('say without the demo what this server is', async () => {
    const server = await serve({ isDemo: false })

    const { body } = await server.inject('/')

    expect(body).toContain('This is an EventCenter server')
    expect(body).not.toContain('<script')
  })

  test.each([
    ['/assets/style.css', 'text/css'],
    ['/assets/icon.svg', 'image/svg'],
    ['/assets/js/admin/src/demo.js', 'javascript'],
    ['/sdk/sdk.js', 'javascript'],
  ])('bring %s', async (url, type) => {
    const { statusCode, headers } = await (await serve({ isDemo: true })).inject(url)

    expect(statusCode).toBe(200)
    expect(headers['content-type']).toContain(type)
  })

  test.each([
    '/assets/../package.json',
    '/assets/%2e%2e/package.json',
    '/assets/..%2fpackage.json',
    '/sdk/none.js',
    '/assets/.hidden',
    '/assets/',
  ])('do not bring %s', async (url) => {
    const { statusCode } = await (await serve({ isDemo: true })).inject(url)

    expect([400, 403, 404]).toContain(statusCode)
  })
})
