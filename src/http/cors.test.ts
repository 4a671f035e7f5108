import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { expect, suite, test } from 'vitest'
import { as, serverWith } from '../../test/http.ts'

const routes: FastifyPluginAsyncZod = async (app) => {
  app.get('/mine', { config: { access: 'user' } }, () => 'x')
  app.post('/mine', { config: { access: 'user' } }, () => 'x')
  app.get('/mine/:id', { config: { access: 'user' } }, () => 'x')
  app.get('/service', { config: { access: { scope: 'events:read' } } }, () => 'x')
}
const PAGE = 'https://app.example.com'
const app = serverWith(routes, { allowedOrigins: [PAGE] })
const preflight = (url: string, origin: string) =>
  app.inject({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': 'POST' } })

suite('a page of another origin', () => {
  test('that is allowed may call the routes of users', async () => {
    const asked = await preflight('/mine/1', PAGE)
    const answer = await app.inject({ url: '/mine', ...as('acme.anna', { origin: PAGE }) })

    expect(asked.statusCode).toBe(204)
    expect((await preflight('/mine', PAGE)).headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-methods': 'GET, HEAD, POST',
      'access-control-allow-headers': 'authorization, content-type',
    })
    expect(answer.headers).toMatchObject({ 'access-control-allow-origin': PAGE, vary: 'origin' })
    expect(answer.headers).not.toHaveProperty('access-control-allow-credentials')
  })

  test('may read that its token is not valid', async () => {
    const answer = await app.inject({ url: '/mine', headers: { origin: PAGE } })

    expect(answer.statusCode).toBe(401)
    expect(answer.headers['access-control-allow-origin']).toBe(PAGE)
  })

  test.each(['https://evil.com', 'null', 'https://app.example.com.evil.com', 'http://app.example.com'])(
    'that is %s may not',
    async (origin) => {
      const asked = await preflight('/mine', origin)
      const answer = await app.inject({ url: '/mine', ...as('acme.anna', { origin }) })

      expect(asked.statusCode).toBe(404)
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
    },
  )

  test('may never call the routes of services', async () => {
    const asked = await preflight('/service', PAGE)
    const answer = await app.inject({ url: '/service', ...as('sk_acme', { origin: PAGE }) })

    expect(asked.statusCode).toBe(404)
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
  })
})
