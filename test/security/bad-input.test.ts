import { createHmac, generateKeyPairSync } from 'node:crypto'
import { SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, expect, suite, test } from 'vitest'
import { JWT_SECRET } from '../app.ts'
import { prepare } from './examples.ts'
import { fromSomewhere, startApi } from './operations.ts'

const server = await startApi()
afterAll(() => server.close())
await prepare(server)

const now = Math.floor(Date.now() / 1000)
const good = { sub: 'anna', exp: now + 600 }
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const signed = (claims: Record<string, unknown>, header: Record<string, unknown> = {}) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256', ...header }).sign(Buffer.from(JWT_SECRET))
/** Signed by hand with HMAC, whatever the header says. */
const forged = (header: unknown, claims: unknown, secret: string | Buffer) => {
  const text = `${base64url(header)}.${base64url(claims)}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

async function withToken(token: string) {
  const headers = { authorization: `Bearer ${token}`, ...fromSomewhere() }
  return server.call('GET', '/api/v1/notifications/unread-count', undefined, headers)
}

suite('a user token', () => {
  test('that is good is taken', async () => {
    const answer = await withToken(await signed(good))

    expect(answer.status).toBe(200)
  })

  test.each<[string, () => string | Promise<string>]>([
    ['has expired', () => signed({ ...good, exp: now - 60 })],
    ['never expires', () => signed({ sub: 'anna' })],
    ['is not valid yet', () => signed({ ...good, nbf: now + 600 })],
    ['is of nobody', () => signed({ exp: now + 600 })],
    ['is of an empty name', () => signed({ ...good, sub: '' })],
    ['is of a name with control characters', () => signed({ ...good, sub: 'anna\u0000' })],
    ['is of an empty company', () => signed({ ...good, company_id: '' })],
    ['has a list for a company', () => signed({ ...good, company_id: ['acme'] })],
    ['is not signed', () => new UnsecuredJWT(good).encode()],
    ['says "NoNe" and has no signature', () => `${base64url({ alg: 'NoNe' })}.${base64url(good)}.`],
    ['is signed with another secret', () => forged({ alg: 'HS256' }, good, 'x'.repeat(40))],
    ['is signed with an empty secret', () => forged({ alg: 'HS256' }, good, '')],
    ['uses a weaker name for the algorithm', () => forged({ alg: 'hs256' }, good, JWT_SECRET)],
    ['uses HS512', () => signed(good, { alg: 'HS512' })],
    [
      'uses a public key as the secret',
      () => forged({ alg: 'HS256' }, good, publicKey.export({ type: 'spki', format: 'pem' })),
    ],
    [
      'uses RS256 with a key of its own',
      () =>
        new SignJWT(good)
          .setProtectedHeader({ alg: 'RS256', jwk: publicKey.export({ format: 'jwk' }) })
          .sign(privateKey),
    ],
    ['asks for its key by URL', () => forged({ alg: 'RS256', jku: 'http://127.0.0.1:1/keys' }, good, JWT_SECRET)],
    ['has critical extensions', () => forged({ alg: 'HS256', crit: ['x'], x: 1 }, good, JWT_SECRET)],
    ['is of another kind', () => signed(good, { typ: 'logout+jwt' })],
    [
      'has a changed claim',
      async () => (await signed(good)).replace(/\.[^.]*\./, `.${base64url({ ...good, sub: 'boris' })}.`),
    ],
    ['has spaces in it', async () => (await signed(good)).replace('.', '. ')],
    ['is too long', () => signed({ ...good, more: 'x'.repeat(9000) })],
  ])('that %s is not taken, and the answer repeats nothing of it', async (_, make) => {
    const token = await make()

    const { status, headers, body } = await withToken(token)

    expect(status).toBe(401)
    expect(headers.get('www-authenticate')).toContain('Bearer')
    for (const part of token.split('.').filter((it) => it.length > 8)) expect(JSON.stringify(body)).not.toContain(part)
  })

  test('counts in the header alone', async () => {
    const token = await signed(good)
    const path = `/api/v1/notifications/unread-count?token=${token}`
    const cookie = { authorization: '', cookie: `ec_token=${token}`, ...fromSomewhere() }

    expect((await server.call('GET', path, undefined, cookie)).status).toBe(401)
  })
})

const event = { user_id: 'anna', type: 'test.happened', title: 'x', body: 'x' }

const send = (type: string) => server.call('POST', '/api/v1/events', JSON.stringify(event), { 'content-type': type })

suite('a body', () => {
  test.each([
    ['of 1 MB', JSON.stringify({ ...event, body: 'x'.repeat(1_000_000) }), 413],
    ['of 100 levels', `{"data":${'{"a":'.repeat(100)}1${'}'.repeat(101)}`, 400],
    ['of 50,000 levels', '['.repeat(50_000), 400],
    ['with __proto__', '{"__proto__":{"isPlatform":true},"type":"test.happened"}', 400],
    ['with __proto__ twice', '{"__proto__":1,"__proto__":2}', 400],
    ['with a constructor to pollute', '{"data":{"constructor":{"prototype":{"x":1}}}}', 400],
    ['with a member twice', '{"user_id":"anna","user_id":"boris"}', 400],
    ['with a number too large for JSON', `{"user_id":1e999,"type":"test.happened","title":"x","body":"x"}`, 400],
    ['with half a surrogate pair', '{"user_id":"anna","type":"test.happened","title":"\\ud800","body":"x"}', 400],
    ['with U+0000', '{"user_id":"anna","type":"test.happened","title":"a\\u0000b","body":"x"}', 400],
    ['that is no object', '[]', 400],
    ['that is null', 'null', 400],
    ['that is empty', '', 400],
    ['that is cut off', '{"user_id":', 400],
  ])('%s is refused with a problem that says why', async (_, text, status) => {
    const answer = await server.call('POST', '/api/v1/events', text)

    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.body).toMatchObject({ status, detail: expect.stringMatching(/./), request_id: expect.any(String) })
  })

  test('that is no JSON by its type is refused', async () => {
    const statuses = await Promise.all(['text/plain', 'multipart/form-data', 'application/xml'].map(send))

    expect(statuses.map(({ status }) => status)).toEqual([415, 415, 415])
  })
})

suite('the documentation', () => {
  test('names each way in which an event is answered, and each type of its body', async () => {
    const { paths } = (await server.call('GET', '/openapi.json')).body
    const { responses, requestBody } = paths['/api/v1/events'].post

    const refusals = ['400', '401', '403', '409', '413', '415', '422', '429', '503']
    expect(Object.keys(responses)).toEqual(['200', '202', ...refusals])
    expect(Object.keys(requestBody.content)).toEqual(['application/json', 'application/cloudevents+json'])
  })

  test('names the conflicts of whoever sends dead letters again', async () => {
    const { paths } = (await server.call('GET', '/openapi.json')).body

    expect(paths['/api/v1/dead-letters/{job_id}/retry'].post.responses).toHaveProperty('409')
    expect(paths['/api/v1/dead-letters/replay'].post.responses).toMatchObject({ 409: {}, 422: {} })
  })
})

suite('an address', () => {
  test.each([
    ['/api/v1/events/%00', 400],
    ['/api/v1/events/%ff%fe', 400],
    [`/api/v1/events/${'x'.repeat(5000)}`, 414],
    ['/api/v1/users/..%2f..%2fetc%2fpasswd', 404],
    ["/api/v1/users/'; drop table event; --", 404],
    ['/api/v1/keys?after=%27%3B', 400],
    ['/api/v1/nowhere', 404],
    ['//evil.com/%2e%2e', 404],
  ])('%.40s is answered with a problem', async (path, status) => {
    const answer = await fetch(server.url + path, {
      headers: { authorization: `Bearer sk_${'k'.repeat(40)}` },
      redirect: 'manual',
    })

    expect(answer.status).toBe(status)
    expect((await answer.json()).type).toMatch(/^urn:eventcenter:problem:/)
  })
})
