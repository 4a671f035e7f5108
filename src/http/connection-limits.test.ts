import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { as, serverWith } from '../../test/http.ts'

const connection = { headersTimeout: 300, requestTimeout: 600, connectionsCheckingInterval: 100 }
const app = serverWith(
  async (app) => {
    app.post('/', { config: { access: 'public' } }, () => 'x')
  },
  { connection },
)
let port: number
beforeAll(async () => {
  await app.listen({ port: 0, host: '127.0.0.1' })
  port = (app.server.address() as AddressInfo).port
})
afterAll(() => app.close())

/** What the server says to these bytes until it closes the connection. */
const say = (text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.on('data', (bytes) => (answer += bytes.toString()))
    socket.on('error', reject)
    socket.on('close', () => resolve(answer))
  })

suite('a connection', () => {
  test.each([
    ['never ends its headers', 'POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ', 408],
    [
      'never ends its body',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
      408,
    ],
    ['sends too large headers', `POST / HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['is no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n\r\n', 400],
    [
      'could be read in two ways (request smuggling)',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
  ])('that %s is answered and ended', async (_, text, status) => {
    const answer = await say(text)

    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer).not.toMatch(/node|fastify|HPE_|\.ts/i)
  })
})

suite('a request', () => {
  test.each([
    ['a body of 1 MB', { payload: JSON.stringify('x'.repeat(1_000_000)) }, 413, 'too-large'],
    ['no JSON', { payload: '{"a":', headers: { 'content-type': 'application/json' } }, 400, 'invalid'],
    ['a JSON of 100 levels', { payload: '['.repeat(100) + ']'.repeat(100) }, 400, 'invalid'],
    ['a form', { payload: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } }, 415, ''],
    ['plain text', { payload: '{}', headers: { 'content-type': 'text/plain' } }, 415, ''],
    ['a zero byte in its address', { url: '/a%00b' }, 400, 'invalid'],
    ['a broken escape in its address', { url: '/%zz' }, 400, 'bad-request'],
  ])('with %s is answered with a problem', async (_, { url = '/', headers = {}, ...rest }: Request, status, word) => {
    const type = { 'content-type': 'application/json', ...headers }

    const answer = await app.inject({ method: 'POST', url, ...rest, ...as('sk_', type) })

    expect(answer.statusCode).toBe(status)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(answer.json()).toMatchObject({ status, detail: expect.any(String) })
    expect(answer.json().type).toContain(`urn:eventcenter:problem:${word}`)
  })
})

type Request = { url?: string; payload?: string; headers?: Record<string, string> }
