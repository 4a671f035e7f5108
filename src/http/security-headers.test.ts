import { expect, suite, test } from 'vitest'
import { as, serverWith } from '../../test/http.ts'

const app = serverWith(
  async (app) => {
    app.get('/page', { config: { access: 'public', csp: { 'style-src': "'self' 'unsafe-inline'" } } }, () => 'x')
    app.get('/mine', { config: { access: 'user' } }, () => 'x')
  },
  { trustProxy: ['127.0.0.1'] },
)

suite('every answer', () => {
  test.each(['/page', '/mine', '/nowhere', '/%zz', '/docs', '/openapi.json'])(
    '%s tells browsers what they may do',
    async (url) => {
      const { headers } = await app.inject({ url })

      // A broken address is answered before anything else runs, as JSON that no browser shows as a page.
      if (url === '/%zz') return expect(headers['content-type']).toBe('application/problem+json')
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'DENY',
      })
      const policy = String(headers['content-security-policy'])
      for (const rule of ["script-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"]) {
        expect(policy.split('; ')).toContain(rule)
      }
    },
  )

  test('a page may ask for an exception, which is of this page alone', async () => {
    const policies = await Promise.all(
      ['/page', '/mine'].map(async (url) => (await app.inject(url)).headers['content-security-policy']),
    )

    expect(policies.map((policy) => String(policy).includes("'unsafe-inline'"))).toEqual([true, false])
  })

  test('is kept by no cache where it is not public', async () => {
    const mine = await app.inject({ url: '/mine', ...as('acme.anna') })

    expect(mine.headers['cache-control']).toBe('no-store')
    expect((await app.inject('/page')).headers).not.toHaveProperty('cache-control')
  })

  test('asks for HTTPS from then on where it went over HTTPS', async () => {
    const secure = await app.inject({ url: '/page', headers: { 'x-forwarded-proto': 'https' } })

    expect(secure.headers['strict-transport-security']).toBe('max-age=15724800')
    expect((await app.inject('/page')).headers).not.toHaveProperty('strict-transport-security')
  })
})
