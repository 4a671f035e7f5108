import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { expect, suite, test } from 'vitest'
import { as, serverWith } from '../../test/http.ts'
import { networkOf, type HttpLimits } from './limits.ts'

const gate = Promise.withResolvers<string>()
const routes: FastifyPluginAsyncZod = async (app) => {
  app.get('/service', { config: { access: { scope: 'events:read' } } }, () => 'x')
  app.get('/user', { config: { access: 'user' } }, () => 'x')
  app.get('/public', { config: { access: 'public' } }, () => 'x')
  app.get('/slow', { config: { access: 'public' } }, () => gate.promise)
  app.get('/probe', { config: { access: 'public', isProbe: true } }, () => 'x')
}
const start = (limits: Partial<HttpLimits>) => serverWith(routes, { limits, trustProxy: ['127.0.0.1'] })
type Server = ReturnType<typeof start>

const guess = (app: Server, token = 'sk-no') => app.inject({ url: '/service', ...as(token) })
const statuses = async (count: number, request: () => Promise<{ statusCode: number }>) => {
  const answers = await Promise.all(Array.from({ length: count }, request))
  return answers.map(({ statusCode }) => statusCode).sort((a, b) => a - b)
}

suite('requests in a minute', () => {
  test.each([
    ['key', { servicePerMinute: 5 }, '/service', ['sk_a', 'sk_b']],
    ['user', { userPerMinute: 5 }, '/user', ['acme.anna', 'acme.boris', 'other.anna']],
  ])('are counted for each %s alone, exactly', async (_, limits, url, [caller = '', ...others]) => {
    const app = start(limits)

    const results = await statuses(8, () => app.inject({ url, ...as(caller) }))

    expect(results).toEqual([200, 200, 200, 200, 200, 429, 429, 429])
    for (const other of others) expect((await app.inject({ url, ...as(other) })).statusCode).toBe(200)
  })

  test('too many are told when to come back', async () => {
    const app = start({ userPerMinute: 1 })
    const first = await app.inject({ url: '/user', ...as('acme.anna') })

    const second = await app.inject({ url: '/user', ...as('acme.anna') })

    expect(first.headers).toMatchObject({ 'ratelimit-limit': '1', 'ratelimit-remaining': '0' })
    expect(second.json()).toMatchObject({ type: 'urn:eventcenter:problem:too-many', status: 429 })
    expect(Number(second.headers['retry-after'])).toBeGreaterThan(50)
  })

  test('of public pages are counted by address, and not by what an untrusted header says', async () => {
    const app = start({ addressPerMinute: 2 })
    const from = (address: string, forwarded: string) => () =>
      app.inject({ url: '/public', remoteAddress: address, headers: { 'x-forwarded-for': forwarded } })
    let i = 0

    expect(await statuses(3, () => from('5.5.5.5', `1.1.1.${++i}`)())).toEqual([200, 200, 429])
    expect(await statuses(3, () => from('127.0.0.1', `9.9.9.9, 2.2.2.${++i}`)())).toEqual([200, 200, 200])
    expect(await statuses(3, () => from('127.0.0.1', `9.9.9.${++i}, 3.3.3.3`)())).toEqual([200, 200, 429])
  })

  test.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::7', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['10.0.0.1', '10.0.0.1'],
  ])('from %s are counted for %s', (ip, network) => {
    expect(networkOf(ip)).toBe(network)
  })

  test('of probes are not counted', async () => {
    const app = start({ addressPerMinute: 1 })

    expect(await statuses(3, () => app.inject({ url: '/probe' }))).toEqual([200, 200, 200])
  })
})

suite('wrong credentials', () => {
  test('of one address are refused with 429 after a while', async () => {
    const app = start({ failuresPerMinute: 3 })

    expect(await statuses(6, () => guess(app))).toEqual([401, 401, 401, 429, 429, 429])
  })

  test('never shut out right ones from the same address', async () => {
    const app = start({ failuresPerMinute: 1 })
    await statuses(5, () => guess(app))

    expect((await guess(app, 'sk_a')).statusCode).toBe(200)
  })
})

suite('more requests at once than can be answered', () => {
  test('are told to come again, while probes are answered', async () => {
    const app = start({ inFlight: 2 })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const waiting = [fetch(`${url}/slow`), fetch(`${url}/slow`)]
    // The server has both when a third is refused.
    const refused = await until(
      () => fetch(`${url}/public`),
      ({ status }) => status === 503,
    )

    const probe = await fetch(`${url}/probe`)
    gate.resolve('done')
    const answered = await Promise.all(waiting)

    expect(refused.headers.get('retry-after')).toBe('1')
    expect(probe.status).toBe(200)
    expect(answered.map(({ status }) => status)).toEqual([200, 200])
    expect(
      (
        await until(
          () => fetch(`${url}/public`),
          ({ status }) => status === 200,
        )
      ).status,
    ).toBe(200)
    await app.close()
  })
})

async function until<Value>(ask: () => Promise<Value>, isFine: (value: Value) => boolean): Promise<Value> {
  for (;;) {
    const value = await ask()
    if (isFine(value)) return value
  }
}
