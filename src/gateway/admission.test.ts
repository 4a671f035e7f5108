import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { connectClient, readyClient, startGateway, tokenOf, type RunningGateway } from '../../test/gateway.ts'
import { AppError } from '../core/errors.ts'
import { TOKEN_COOKIE } from './credentials.ts'

let database: FreshDatabase
let running: RunningGateway[] = []

beforeAll(async () => {
  database = await freshDatabase()
})
afterEach(async () => {
  await Promise.all(running.map(({ stop }) => stop()))
  running = []
})
afterAll(() => database.close())

const start = async (options: Parameters<typeof startGateway>[1] = {}): Promise<RunningGateway> => {
  const one = await startGateway(database.db, options)
  running.push(one)
  return one
}

const noKeys = () => Promise.reject(new AppError('unavailable', 'No keys'))

const ORIGIN = 'https://app.example.org'

suite('a socket gets its user', () => {
  test('from the query', async () => {
    const { url } = await start()

    const client = connectClient(`${url}?token=${await tokenOf('anna')}`)

    expect(await client.frame('ready')).toEqual({
      type: 'ready',
      data: { session_id: expect.any(String), seq: 0, unread_count: 0, heartbeat_seconds: 30 },
    })
  })

  test('from the Authorization header', async () => {
    const { url } = await start()

    const client = connectClient(url, { headers: { authorization: `Bearer ${await tokenOf('anna')}` } })

    await client.frame('ready')
  })

  test('from the cookie, where the page is known', async () => {
    const { url } = await start()

    const client = connectClient(url, {
      headers: { cookie: `a=b; ${TOKEN_COOKIE}=${await tokenOf('anna')}` },
      origin: ORIGIN,
    })

    await client.frame('ready')
  })

  test('from the first frame', async () => {
    const { url, gateway } = await start()

    const token = await tokenOf('anna')
    const client = connectClient(url)
    client.socket.on('open', () => client.send({ type: 'auth', token }))

    await client.frame('ready')
    expect(gateway.connectionCount('', 'anna')).toBe(1)
  })

  test('but not from a cookie without an origin: any page could have sent it', async () => {
    const { url } = await start({ limits: { authSeconds: 0.1, tickMs: 20 } })

    const client = connectClient(url, { headers: { cookie: `${TOKEN_COOKIE}=${await tokenOf('anna')}` } })

    expect(await client.closed).toMatchObject({ code: 4505 })
  })

  test('and an old cookie does not lock out a page with a token', async () => {
    const { url } = await start()

    const token = await tokenOf('anna')
    const client = connectClient(url, { headers: { cookie: `${TOKEN_COOKIE}=old` }, origin: ORIGIN })
    client.socket.on('open', () => client.send({ type: 'auth', token }))

    await client.frame('ready')
  })

  test('and a useless cookie alone is told when the time is over', async () => {
    const { url } = await start({ limits: { authSeconds: 0.1, tickMs: 20 } })

    const client = connectClient(url, { headers: { cookie: `${TOKEN_COOKIE}=old` }, origin: ORIGIN })

    expect(await client.closed).toMatchObject({ code: 4501 })
  })
})

suite('a socket is closed with', () => {
  test.each([
    ['nonsense', 4501],
    ['a.b.c', 4501],
  ])('the token %s: %i', async (token, code) => {
    const { url } = await start()

    expect(await connectClient(`${url}?token=${token}`).closed).toMatchObject({ code })
  })

  test('an expired token: 4010, so that the client gets a new one', async () => {
    const { url } = await start()

    const client = connectClient(`${url}?token=${await tokenOf('anna', { seconds: -100 })}`)

    expect(await client.closed).toMatchObject({ code: 4010 })
  })

  test('a bad token in the first frame: 4501', async () => {
    const { url } = await start()

    const client = connectClient(url)
    client.socket.on('open', () => client.send({ type: 'auth', token: 'bad' }))

    expect(await client.closed).toMatchObject({ code: 4501 })
  })

  test('another frame before the token: 4500', async () => {
    const { url } = await start()

    const client = connectClient(url)
    client.socket.on('open', () => client.send({ type: 'ping' }))

    expect(await client.closed).toMatchObject({ code: 4500 })
  })

  test('no token in time: 4505', async () => {
    const { url } = await start({ limits: { authSeconds: 0.1, tickMs: 20 } })

    expect(await connectClient(url).closed).toMatchObject({ code: 4505 })
  })

  test('a token that cannot be judged now: 1013', async () => {
    const { url } = await start({ verify: noKeys })

    expect(await connectClient(`${url}?token=x`).closed).toMatchObject({ code: 1013 })
  })

  test('a token that ends while it is open, a little later: 4010', async () => {
    const { url } = await start({ limits: { tokenGraceSeconds: 0.2, tickMs: 20 } })
    const client = connectClient(`${url}?token=${await tokenOf('anna', { seconds: 1 })}`)
    await client.frame('ready')

    expect(await client.closed).toMatchObject({ code: 4010 })
  })

  test('and stays open with a new token of the same user', async () => {
    const { url } = await start({ limits: { tokenGraceSeconds: 0.2, tickMs: 20 } })
    const client = connectClient(`${url}?token=${await tokenOf('anna', { seconds: 1 })}`)
    await client.frame('ready')

    client.send({ type: 'auth', token: await tokenOf('anna') })

    await client.frame('authenticated')
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(client.socket.readyState).toBe(client.socket.OPEN)
  })

  test('a token of another user later: 4501', async () => {
    const running = await start()
    const client = await readyClient(running, 'anna')

    client.send({ type: 'auth', token: await tokenOf('boris') })

    expect(await client.closed).toMatchObject({ code: 4501 })
  })
})

suite('an upgrade', () => {
  test.each([
    ['https://evil.example', 403],
    ['null', 403],
    ['https://app.example.org.evil.example', 403],
    ['http://app.example.org', 403],
  ])('from the origin %s is refused: %i', async (origin, status) => {
    const { url } = await start()

    const client = connectClient(`${url}?token=${await tokenOf('anna')}`, { origin })

    expect(await client.refused).toBe(status)
  })

  test('from the origin of the server itself is taken', async () => {
    const { url, port } = await start()

    const client = connectClient(`${url}?token=${await tokenOf('anna')}`, { origin: `http://127.0.0.1:${port}` })

    await client.frame('ready')
  })

  test('of another path is answered with 404', async () => {
    const { port } = await start()

    expect(await connectClient(`ws://127.0.0.1:${port}/other`).refused).toBe(404)
  })

  test('of one connection too many from one address is answered with 429', async () => {
    const { url, gateway } = await start({ limits: { sessionsPerAddress: 2 } })
    const token = await tokenOf('anna')
    const [first] = await Promise.all(
      [1, 2].map(async () => {
        const client = connectClient(`${url}?token=${token}`)
        await client.frame('ready')
        return client
      }),
    )

    expect(await connectClient(`${url}?token=${token}`).refused).toBe(429)

    first!.socket.close()
    await expect.poll(() => gateway.connections()).toBe(1)
    await connectClient(`${url}?token=${token}`).frame('ready')
  })

  test('is refused while the gateway goes down', async () => {
    const one = await start()
    const held = await readyClient(one, 'anna')
    const closing = one.gateway.close(5)

    expect(await connectClient(one.url).refused).toBe(503)

    held.socket.close()
    await closing
  })
})
