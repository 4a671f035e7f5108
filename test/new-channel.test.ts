import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { all } from '../src/channels/all.ts'
import { defineChannel, type Message } from '../src/channels/channel.ts'
import { DeliveryError } from '../src/core/errors.ts'
import { eventually, startTestApp, type TestApp } from './app.ts'

/** The outside provider of the new channel: it keeps what it is sent, and does what a test tells it to. */
const loft = { flights: [] as { to: string; message: Message; from: string }[], next: null as null | (() => never) }

/** All that a new channel is: one definition, and its name in the list. */
const pigeon = defineChannel({
  name: 'pigeon',
  settings: {
    PIGEON_LOFT: {
      describe: 'Where the pigeons live.',
      parse: (text): string => {
        if (text === undefined || text.length < 3) throw new Error('expected the name of a loft')
        return text
      },
    },
  },
  open: ({ PIGEON_LOFT: from }) => ({
    name: 'pigeon',
    bodyFormat: 'text',
    isInbox: false,
    prefersOwnText: true,
    isIdempotent: false,
    onUncertain: 'hold',
    retrySeconds: [0, 0],
    parseAddress: (text) => (/^roof-\d+$/.test(text) ? text : null),
    address: ({ addresses }) => addresses.find(({ channel }) => channel === 'pigeon') ?? null,
    async send(address, message) {
      const { next } = loft
      loft.next = null
      next?.()
      loft.flights.push({ to: address.value, message, from })
      return { providerId: `ring-${loft.flights.length}` }
    },
  }),
})

suite('a new channel, in one file and one word', () => {
  let server: TestApp
  let number = 0

  beforeAll(async () => {
    server = await startTestApp({ PIGEON_LOFT: 'north tower' }, { channels: [...all, pigeon] })
    await server.call('PUT', '/api/v1/users/anna', { pigeon: 'roof-7' })
  })
  beforeEach(() => {
    loft.flights = []
    loft.next = null
  })
  afterAll(() => server.close())

  async function send(event: Record<string, unknown> = {}): Promise<string> {
    const id = `pigeon-${++number}`
    const answer = await server.call('POST', '/api/v1/events', {
      id,
      user_id: 'anna',
      type: 'job.done',
      title: 'Ready',
      body: 'Come home',
      channels: ['pigeon'],
      ...event,
    })
    expect(answer.status).toBe(202)
    return id
  }
  const ends = (id: string, status: string) => server.statusOf(id, ({ deliveries }) => deliveries[0]!.status === status)

  test('gets its settings, its addresses and its messages', async () => {
    const id = await send()

    const { deliveries } = await ends(id, 'SENT')
    expect(loft.flights).toMatchObject([
      { to: 'roof-7', from: 'north tower', message: { text: { subject: 'Ready', body: 'Come home' } } },
    ])
    expect(deliveries[0]).toMatchObject({ provider_id: 'ring-1', attempts_count: 1 })
    expect(loft.flights[0]!.message.jobId).toBe(deliveries[0]!.job_id)
  })

  test('refuses addresses that are none, naming its field', async () => {
    const { status, body } = await server.call('PUT', '/api/v1/users/anna', { pigeon: 'the moon' })

    expect(status).toBe(400)
    expect(body.errors[0].field).toBe('pigeon')
  })

  test('is not started without its settings', async () => {
    await expect(startTestApp({}, { channels: [...all, pigeon] })).rejects.toThrow(/PIGEON_LOFT: expected the name/)
  })

  test('is asked again after a failure that may pass', async () => {
    loft.next = () => {
      throw new DeliveryError('retry', 'storm')
    }

    const status = await ends(await send(), 'SENT')

    expect(status.deliveries[0]!.attempts).toMatchObject([{ n: 1, verdict: 'retry', message: 'storm' }])
  })

  test('is not asked again after a refusal', async () => {
    loft.next = () => {
      throw new DeliveryError('reject', 'too heavy')
    }

    const status = await ends(await send(), 'FAILED')

    expect(status.not_told).toEqual([{ user_id: 'anna', channel: 'pigeon', reason: 'too heavy' }])
    expect(loft.flights).toEqual([])
  })

  test('that cannot know whether it was heard waits for a person', async () => {
    loft.next = () => {
      throw new Error('the line went dead')
    }

    const status = await ends(await send(), 'UNCERTAIN')

    // What a library says may hold an address, so it is not repeated.
    expect(JSON.stringify(status)).not.toContain('the line went dead')
    expect(await server.database.db.query('select kind from dead where kind = $1', ['uncertain'])).toHaveLength(1)
  })

  test('is not asked when the event was cancelled in time', async () => {
    const sendAfter = new Date(Date.now() + 700).toISOString()
    const id = await send({ send_after: sendAfter })

    await server.call('DELETE', `/api/v1/events/${id}`)

    await ends(id, 'CANCELLED')
    await eventually(async () => (Date.now() > Date.parse(sendAfter) + 1000 ? true : null), 'the time of the event')
    expect(loft.flights).toEqual([])
  })
})
