import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import {
  liveFrame,
  readyClient,
  seqsOf,
  startGateway,
  writeNotification,
  type RunningGateway,
} from '../../test/gateway.ts'

let database: FreshDatabase
/** What each test opened. */
let stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  database = await freshDatabase()
})
afterEach(async () => {
  for (const stop of stops) await stop()
  stops = []
})
afterAll(() => database.close())

const start = async (options: Parameters<typeof startGateway>[1] = {}): Promise<RunningGateway> => {
  const one = await startGateway(database.db, options)
  stops.push(one.stop)
  return one
}

const write = (userId: string, more: { title?: string; body?: string } = {}) =>
  writeNotification(database.db, { userId, ...more })

suite('a client that does not read', () => {
  /** More than the buffers of both kernels hold. */
  const FRAMES = 450
  const body = 'я'.repeat(16_000)

  test('costs little memory, and gets the rest when it reads again', async () => {
    const one = await start({ limits: { lagSeconds: 30 } })
    const slow = await readyClient(one, 'slow')
    const quick = await readyClient(one, 'slow')
    slow.socket.pause()

    for (let count = 0; count < FRAMES; count++) await one.bus.publish(liveFrame(await write('slow', { body }), 'slow'))

    await expect.poll(() => quick.all('notification').length, { timeout: 10_000 }).toBe(FRAMES)
    const sentBefore = await sent(one)
    expect(sentBefore).toBeLessThan(FRAMES * 2 - 100)
    slow.socket.resume()
    await slow.frame('resumed')
    await expect.poll(() => slow.all('notification').length, { timeout: 10_000 }).toBe(FRAMES)
    expect(seqsOf(slow.all('notification'))).toEqual(Array.from({ length: FRAMES }, (_, index) => index + 1))
  })

  test('for too long is closed with 4002', async () => {
    const one = await start({ limits: { lagSeconds: 0.3, tickMs: 20 } })
    const slow = await readyClient(one, 'stuck')
    slow.socket.pause()

    for (let count = 0; count < FRAMES; count++)
      await one.bus.publish(liveFrame(await write('stuck', { body }), 'stuck'))
    await new Promise((resolve) => setTimeout(resolve, 500))
    slow.socket.resume()

    expect(await slow.closed).toMatchObject({ code: 4002 })
    await expect.poll(() => one.gateway.connections()).toBe(0)
  })

  test('and has far too much waiting is closed at once', async () => {
    const one = await start({ limits: { lagSeconds: 60 } })
    const slow = await readyClient(one, 'huge')
    slow.socket.pause()

    for (let count = 0; count < 25; count++) {
      await one.bus.publish(liveFrame(await write('huge', { body: 'x'.repeat(600_000) }), 'huge'))
    }

    await expect.poll(() => one.gateway.connections(), { timeout: 8_000 }).toBe(0)
    slow.socket.resume()
  })

  test('at all is cut off', async () => {
    const one = await start({ limits: { lagSeconds: 0.3, tickMs: 20 } })
    const slow = await readyClient(one, 'dead')
    slow.socket.pause()

    for (let count = 0; count < FRAMES; count++) await one.bus.publish(liveFrame(await write('dead', { body }), 'dead'))

    await expect.poll(() => one.gateway.connections(), { timeout: 5_000 }).toBe(0)
    slow.socket.resume()
  })
})

async function sent({ metrics }: RunningGateway): Promise<number> {
  const { values } = await metrics.framesSent.get()
  return values[0]?.value ?? 0
}
