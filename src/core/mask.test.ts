import { expect, suite, test } from 'vitest'
import { mask, maskUrl } from './mask.ts'

suite('a masked text', () => {
  test.each([
    ['connect to postgres://bob:pa55@db/main failed', 'connect to postgres://[redacted]@db/main failed'],
    ['GET https://a.test/x?token=abc&b=1 failed', 'GET https://a.test/x?[redacted] failed'],
    ['{"url":"wss://a.test/ws?token=abc","n":1}', '{"url":"wss://a.test/ws?[redacted]","n":1}'],
    ['key sk_000000000000_aaaaaaaaaaaaaaaaaaaaaaaa is wrong', 'key [redacted key] is wrong'],
    ['token eyJhbGciOi.eyJzdWIi.c2ln is wrong', 'token [redacted token] is wrong'],
    ['<ann.lee+x@mail.example.com> refused', '<[redacted e-mail]> refused'],
    ['почта@пример.рф не принята', '[redacted e-mail] не принята'],
    ['at /app/node_modules/@fastify/cors/index.js:3', 'at /app/node_modules/@fastify/cors/index.js:3'],
  ])('%s', (text, masked) => {
    expect(mask(text)).toBe(masked)
  })

  test('stays valid JSON', () => {
    const line = JSON.stringify({ msg: 'to "a@b.example"\nhttps://x.test/?q="1"', url: 'postgres://a:b@c/d' })

    expect(() => JSON.parse(mask(line)) as unknown).not.toThrow()
    expect(mask(line)).not.toMatch(/a@b|a:b/)
  })

  test('takes no longer for hostile texts', () => {
    const start = performance.now()

    mask(`${'a'.repeat(100_000)}@`)
    mask('a@'.repeat(50_000))
    mask('://'.repeat(50_000))
    mask('eyJ'.repeat(50_000))

    expect(performance.now() - start).toBeLessThan(1000)
  })
})

suite('a shown URL', () => {
  test.each([
    ['postgres://bob:pa55@db:5432/main', 'postgres://bob:***@db:5432/main'],
    ['smtps://user%40x:p%2Fw@mail.example:465', 'smtps://user%40x:***@mail.example:465'],
    ['postgres://db/main?password=pa55', 'postgres://db/main?***'],
    ['embedded:./data', 'embedded:./data'],
  ])('%s is shown as %s', (url, shown) => {
    expect(maskUrl(url)).toBe(shown)
  })
})
