import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import {
  connectClient,
  liveFrame,
  readyClient,
  seqsOf,
  startGateway,
  tokenOf,
  writeNotification,
  type RunningGateway,
} from '../../test/gateway.ts'
import { idOfUuid } from '../core/id.ts'
import { changeNotification } from '../store/change-notifications.ts'

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

suite('a client that breaks a limit is closed:', () => {
  test('frames that are no JSON objects with a type: 4500', async () => {
    const one = await start()

    for (const text of ['no json', '[]', '1', 'null', '{"type":1}', '{}', '']) {
      const client = await readyClient(one, 'anna')
      client.send(text)
      expect(await client.closed, text).toMatchObject({ code: 4500 })
    }
  })

  test('binary frames: 4500', async () => {
    const client = await readyClient(await start(), 'anna')

    client.socket.send(Buffer.from('{"type":"ping"}'), { binary: true })

    expect(await client.closed).toMatchObject({ code: 4500 })
  })

  test('a frame of more than 16 KB: 1009', async () => {
    const client = await readyClient(await start(), 'anna')

    client.send({ type: 'ping', more: 'x'.repeat(16 * 1024) })

    expect(await client.closed).toMatchObject({ code: 1009 })
  })

  test('more than 40 frames at once: 4008', async () => {
    const client = await readyClient(await start(), 'anna')

    for (let count = 0; count < 60; count++) client.send({ type: 'ping' })

    expect(await client.closed).toMatchObject({ code: 4008 })
    expect(client.all('pong').length).toBeLessThanOrEqual(41)
  })

  test('more than 40 protocol pings at once: 4008', async () => {
    const client = await readyClient(await start(), 'anna')

    for (let count = 0; count < 60; count++) client.socket.ping()

    expect(await client.closed).toMatchObject({ code: 4008 })
  })

  test('more than 20 sessions of one user: the oldest goes with 4504', async () => {
    const one = await start()
    const oldest = await readyClient(one, 'anna')
    for (let count = 0; count < 19; count++) await readyClient(one, 'anna')

    const newest = await readyClient(one, 'anna')

    expect(await oldest.closed).toMatchObject({ code: 4504 })
    expect(one.gateway.connectionCount('', 'anna')).toBe(20)
    newest.send({ type: 'ping' })
    await newest.frame('pong')
  })

  test('no answer to a ping: 4003', async () => {
    const one = await start({ limits: { heartbeatSeconds: 0.1 } })
    const silent = connectClient(`${one.url}?token=${await tokenOf('anna')}`, { autoPong: false })
    const answering = await readyClient(one, 'boris')

    expect(await silent.closed).toMatchObject({ code: 4003 })
    expect(answering.socket.readyState).toBe(answering.socket.OPEN)
  })
})

suite('frames of a client', () => {
  test('that are not known, or lack something, are answered and forgiven', async () => {
    const client = await readyClient(await start(), 'anna')

    client.send({ type: 'dance' })
    client.send({ type: 'resume', since: -1 })
    client.send({ type: 'ack', seq: 'x' })
    client.send({ type: 'ping' })

    await client.frame('pong')
    const codes = client.all('error').map(({ data }) => (data as { code: string }).code)
    expect(codes).toEqual(['unknown', 'invalid', 'invalid'])
  })

  test('that mark a notification as read change it in all sessions', async () => {
    const one = await start()
    const notification = await writeNotification(database.db, { userId: 'reader' })
    const [phone, laptop] = [await readyClient(one, 'reader'), await readyClient(one, 'reader')]

    phone.send({ type: 'read', id: notification.id })

    for (const client of [phone, laptop]) {
      expect(await client.frame('notification_updated')).toMatchObject({
        data: { notification: { id: notification.id, is_read: true, seq: 2 } },
      })
      expect(await client.frame('unread_count')).toEqual({ type: 'unread_count', data: { count: 0 } })
    }
  })

  test('cannot read what belongs to somebody else, or to nobody', async () => {
    const one = await start()
    const notification = await writeNotification(database.db, { userId: 'owner' })
    const thief = await readyClient(one, 'thief')
    const sameNameElsewhere = await readyClient(one, 'owner', 'other-company')

    for (const client of [thief, sameNameElsewhere]) {
      for (const id of [notification.id, '00000000-0000-4000-8000-000000000000', `' or 1=1 --`]) {
        client.send({ type: 'read', id })
      }
      await client.frame('error', 3)
      expect(client.all('error')).toContainEqual({ type: 'error', data: { code: 'not-found', id: notification.id } })
    }
    const [row] = await database.db.query<{ read_at: unknown }>(
      `select read_at from notification where user_id = 'owner'`,
    )
    expect(row?.read_at).toBeNull()
  })
})

suite('counting', () => {
  test('knows users, sessions and frames', async () => {
    const one = await start()
    const anna = await readyClient(one, 'anna')
    await readyClient(one, 'anna')
    await readyClient(one, 'anna', 'acme')

    expect([one.gateway.activeUsers(), one.gateway.connections()]).toEqual([2, 3])
    expect(one.gateway.connectionCount('', 'anna')).toBe(2)
    expect(one.gateway.connectionCount('', 'nobody')).toBe(0)

    anna.socket.terminate()
    await expect.poll(() => one.gateway.connectionCount('', 'anna')).toBe(1)
    const text = await one.metrics.registry.metrics()
    expect(text).toContain('eventcenter_ws_connections 2')
    expect(text).toContain('eventcenter_ws_users 2')
    expect(text).toContain('eventcenter_frames_sent_total 3')
  })
})

suite('shutdown', () => {
  test('asks clients to move at moments of their own, then closes with 1012', async () => {
    const one = await start()
    const clients = await Promise.all(Array.from({ length: 10 }, () => readyClient(one, 'anna')))

    await one.gateway.close(1)

    const moments = clients.map((client) => (client.all('drain')[0]!['data'] as { after_ms: number }).after_ms)
    expect(new Set(moments).size).toBeGreaterThan(5)
    expect(Math.max(...moments)).toBeLessThanOrEqual(800)
    for (const client of clients) expect(await client.closed).toMatchObject({ code: 1012 })
  })

  test('is over as soon as everybody has moved', async () => {
    const one = await start()
    const client = await readyClient(one, 'anna')
    const startedAt = Date.now()

    const closing = one.gateway.close(30)
    await client.frame('drain')
    client.socket.close()
    await closing

    expect(Date.now() - startedAt).toBeLessThan(5_000)
  })
})

suite('what is published', () => {
  test('reaches every session of the user, with the count, and nobody else', async () => {
    const one = await start()
    const [phone, laptop] = [await readyClient(one, 'vera'), await readyClient(one, 'vera')]
    const others = [await readyClient(one, 'igor'), await readyClient(one, 'vera', 'acme')]

    const notification = await writeNotification(database.db, { userId: 'vera' })
    await one.bus.publish(liveFrame(notification, 'vera'))

    for (const client of [phone, laptop]) {
      expect(await client.frame('notification')).toEqual({
        type: 'notification',
        data: {
          notification: {
            id: notification.id,
            type: 'job.done',
            title: 'Ready',
            message: 'It is done',
            event_id: expect.stringMatching(/^event-/),
            is_read: false,
            is_seen: false,
            is_archived: false,
            snoozed_until: null,
            created_at: expect.any(String),
            seq: 1,
            level: 'info',
            cta: null,
            data: {},
          },
        },
      })
      expect(await client.frame('unread_count')).toEqual({ type: 'unread_count', data: { count: 1 } })
    }
    for (const client of others) {
      client.send({ type: 'ping' })
      await client.frame('pong')
      expect(client.frames.map(({ type }) => type)).toEqual(['ready', 'pong'])
    }
  })

  test('by many at once arrives in order, each once', async () => {
    const one = await start()
    const clients = [await readyClient(one, 'crowd'), await readyClient(one, 'crowd')]

    await Promise.all(
      Array.from({ length: 200 }, async () => {
        const notification = await writeNotification(database.db, { userId: 'crowd' })
        await one.bus.publish(liveFrame(notification, 'crowd'))
      }),
    )

    for (const client of clients) {
      await expect.poll(() => client.all('notification').length).toBe(200)
      expect(seqsOf(client.all('notification'))).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
    }
  })

  test('brings no count where it is the same as before', async () => {
    const one = await start()
    const client = await readyClient(one, 'same')
    const notification = await writeNotification(database.db, { userId: 'same' })
    await one.bus.publish(liveFrame(notification, 'same'))
    await client.frame('unread_count')

    const seen = await changeNotification(database.db, { companyId: '', userId: 'same' }, idOfUuid(notification.id)!, {
      change: 'seen',
    })
    await one.bus.publish(liveFrame(seen!, 'same'))

    await client.frame('notification', 2)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(client.all('unread_count')).toHaveLength(1)
  })

  test('in a burst brings few counts, the last one right', async () => {
    const one = await start()
    const client = await readyClient(one, 'burst')

    for (let count = 0; count < 50; count++) {
      await one.bus.publish(liveFrame(await writeNotification(database.db, { userId: 'burst' }), 'burst'))
    }

    await expect.poll(() => client.all('unread_count').at(-1)).toEqual({ type: 'unread_count', data: { count: 50 } })
    expect(client.all('unread_count').length).toBeLessThan(25)
  })
})
