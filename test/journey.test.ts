import PostalMime from 'postal-mime'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import type { EventStatus } from '../src/http/event-status-schema.ts'
import { startTestApp, type TestApp } from './app.ts'
import { startSmtpServer, type SmtpDouble } from './smtp-server.ts'

const event = {
  user_id: 'anna',
  type: 'job.done',
  title: 'Your photo is ready',
  body: 'I have processed it. Come and see.',
  channels: ['ws', 'email'],
  cta: { label: 'Open', url: 'https://example.com/job/1' },
  data: { job_id: 'abc123' },
}

suite('the journey of an event', () => {
  let smtp: SmtpDouble
  let server: TestApp

  beforeAll(async () => {
    smtp = await startSmtpServer()
    server = await startTestApp({
      SMTP_URL: smtp.url,
      MAIL_FROM: 'EventCenter <news@example.com>',
      RETRY_SECONDS: '0,0',
      CATALOG: 'catalog,examples/cinema/catalog',
    })
    await server.call('PUT', '/api/v1/users/anna', {
      email: 'anna@example.com',
      locale: 'en',
      profile: { name: 'Anna' },
    })
    await server.call('PUT', '/api/v1/users/ivan', {
      email: 'ivan@example.com',
      locale: 'ru',
      profile: { name: 'Иван' },
    })
  })
  afterAll(async () => {
    await server.close()
    await smtp.close()
  })

  test('from 202 to the socket and the mailbox', async () => {
    const session = await server.connect('anna')

    const answer = await server.call('POST', '/api/v1/events', { id: 'evt_1', ...event })

    expect(answer.status).toBe(202)
    expect(answer.body).toEqual({
      status: 'accepted',
      event_id: 'evt_1',
      jobs_count: 2,
      status_url: `${server.url}/api/v1/events/evt_1`,
    })
    const { data } = await session.frame(({ type }) => type === 'notification')
    expect(data.notification).toMatchObject({
      type: 'job.done',
      title: 'Your photo is ready',
      message: 'I have processed it. Come and see.',
      event_id: 'evt_1',
      is_read: false,
      seq: 1,
      cta: event.cta,
      data: { job_id: 'abc123' },
    })
    await session.frame(({ type, data }) => type === 'unread_count' && data.count === 1)
    const mail = await smtp.mail(({ to }) => to.includes('anna@example.com'))
    const parsed = await PostalMime.parse(mail.raw)
    expect(parsed.html).toContain('https://example.com/job/1')
    expect(parsed.text).toContain('I have processed it')
    const status = await server.statusOf('evt_1', ({ deliveries }) => deliveries.every((one) => one.status === 'SENT'))
    expect(status.deliveries.map((one) => one.channel).toSorted()).toEqual(['email', 'ws'])
    expect(status.not_told).toEqual([])
    session.close()
  })

  test('to somebody who is offline: he gets it when he comes, once', async () => {
    await server.call('POST', '/api/v1/events', { id: 'offline_1', ...event, user_id: 'ivan', channels: ['ws'] })
    await server.statusOf('offline_1', ({ deliveries }) => deliveries[0]!.status === 'SENT')

    const session = await server.connect('ivan')
    session.send({ type: 'resume', since: 0 })

    await session.frame(({ type, data }) => type === 'notification' && data.notification.event_id === 'offline_1')
    await session.frame(({ type }) => type === 'resumed')
    expect(session.frames.filter(({ type }) => type === 'notification')).toHaveLength(1)
    const { body } = await server.callAs('ivan', 'GET', '/api/v1/notifications')
    expect(body.items).toHaveLength(1)
    session.close()
  })

  test('in the domain form: template, language and words come from the event type and the person', async () => {
    const answer = await server.call('POST', '/api/v1/events', {
      event_id: '4f1c2a1e-0000-4000-8000-000000000001',
      event_type: 'user_registered',
      source: 'auth',
      occurred_at: '2026-01-15T12:00:00Z',
      payload: { user_id: 'ivan' },
    })

    expect(answer.body).toMatchObject({ status: 'accepted', jobs_count: 1 })
    const mail = await smtp.mail(({ to }) => to.includes('ivan@example.com'))
    const parsed = await PostalMime.parse(mail.raw)
    expect(parsed.subject).toMatch(/[а-я]/i)
    expect(parsed.text).toContain('Иван')
  })

  test('of somebody without an address: the status says why he was not told', async () => {
    await server.call('POST', '/api/v1/events', { id: 'nowhere_1', ...event, user_id: 'nobody', channels: ['email'] })

    const status = await server.statusOf('nowhere_1', ({ deliveries }) => deliveries[0]!.status === 'SKIPPED')

    expect(status.not_told).toEqual([{ user_id: 'nobody', channel: 'email', reason: 'no_address' }])
  })

  test('that names a channel which is not installed: the trace says so', async () => {
    const { channels: _, ...withoutChannels } = event
    await server.call('POST', '/api/v1/events', { id: 'no_push', ...withoutChannels })

    const status = await server.statusOf('no_push', ({ deliveries }) => deliveries[0]!.status === 'SENT')

    expect(status.channels_from).toBe('event_type')
    expect(status.not_told).toEqual([{ user_id: null, channel: 'push', reason: 'channel_not_installed' }])
  })

  test('with send_after: nothing is seen before its time', async () => {
    const session = await server.connect('later')
    const sendAfter = new Date(Date.now() + 1200).toISOString()

    await server.call('POST', '/api/v1/events', {
      id: 'later_1',
      ...event,
      user_id: 'later',
      channels: ['ws'],
      send_after: sendAfter,
    })

    const early = await server.callAs('later', 'GET', '/api/v1/notifications?status=all')
    expect(early.body.items).toEqual([])
    const { data } = await session.frame(({ type }) => type === 'notification')
    expect(Date.parse(data.notification.created_at)).toBeGreaterThanOrEqual(Date.parse(sendAfter))
    session.close()
  })

  test('that is over before it is sent: expired, and nobody is told', async () => {
    await server.call('POST', '/api/v1/events', {
      id: 'expired_1',
      ...event,
      expires_at: new Date(Date.now() - 1000).toISOString(),
    })

    const status = await server.statusOf('expired_1', ({ deliveries }) =>
      deliveries.every((one) => one.status === 'EXPIRED'),
    )

    expect(status.not_told.map((one) => one.reason)).toEqual(['expired', 'expired'])
  })

  test('that is cancelled in time: by id, and by key', async () => {
    const sendAfter = new Date(Date.now() + 60_000).toISOString()
    for (const id of ['cancel_1', 'cancel_2']) {
      await server.call('POST', '/api/v1/events', { id, ...event, send_after: sendAfter, cancellation_key: 'trip-7' })
    }

    const byId = await server.call('DELETE', '/api/v1/events/cancel_1')
    const byKey = await server.call('POST', '/api/v1/events/cancel', { cancellation_key: 'trip-7' })

    expect(byId.body).toEqual({ status: 'cancelled', deliveries_cancelled: 2 })
    expect(byKey.body).toEqual({ status: 'cancelled', events: 1, deliveries_cancelled: 2 })
    const { body } = await server.call('GET', '/api/v1/events/cancel_2')
    expect(body.status).toBe('cancelled')
    expect(new Set((body as EventStatus).deliveries.map((one) => one.status))).toEqual(new Set(['CANCELLED']))
  })

  test('sent twice: the first answer again, and one message', async () => {
    const body = { id: 'twice_1', ...event, user_id: 'twice', channels: ['ws'] }

    const first = await server.call('POST', '/api/v1/events', body)
    const again = await server.call('POST', '/api/v1/events', { ...body })
    const other = await server.call('POST', '/api/v1/events', { ...body, title: 'Something else' })

    expect(again.status).toBe(202)
    expect(again.body).toEqual(first.body)
    expect([first.headers.get('idempotency-replayed'), again.headers.get('idempotency-replayed')]).toEqual([
      null,
      'true',
    ])
    expect(other.status).toBe(422)
    const inbox = await server.callAs('twice', 'GET', '/api/v1/notifications')
    expect(inbox.body.items).toHaveLength(1)
  })

  test('as a CloudEvent, and in a batch', async () => {
    const cloudEvent = {
      specversion: '1.0',
      id: 'A234',
      source: '/auth',
      type: 'user_registered',
      time: '2026-01-15T12:00:00Z',
      data: { user_id: 'anna' },
      traceparent: '00-x',
    }

    const { status, body } = await server.call('POST', '/api/v1/events/batch', {
      events: [cloudEvent, { id: 'batch_1', ...event, user_id: 'batch', channels: ['ws'] }],
    })

    expect(status).toBe(202)
    expect(body.events.map((one: { event_id: string; jobs_count: number }) => [one.event_id, one.jobs_count])).toEqual([
      ['/auth#A234', 1],
      ['batch_1', 1],
    ])
    const found = await server.call('GET', new URL(body.events[0].status_url).pathname)
    expect(found.status).toBe(200)
  })

  test('that is none is named in its batch', async () => {
    const { status, body } = await server.call('POST', '/api/v1/events/batch', { events: [event, 'none'] })

    const message = 'Invalid input: expected object, received string'
    expect({ status, errors: body.errors }).toEqual({ status: 400, errors: [{ field: 'events[1]', message }] })
    expect(body.detail).toBe(`events[1]: ${message}`)
  })
})

suite('a mail that the other side does not take', () => {
  let server: TestApp
  let smtp: SmtpDouble
  let refusals: string[] = []

  beforeAll(async () => {
    smtp = await startSmtpServer({ refuse: () => refusals.shift() ?? null })
    server = await startTestApp({ SMTP_URL: smtp.url, MAIL_FROM: 'news@example.com', RETRY_SECONDS: '0,0' })
    await server.call('PUT', '/api/v1/users/anna', { email: 'anna@example.com', profile: {} })
  })
  afterAll(async () => {
    await server.close()
    await smtp.close()
  })

  const mail = { ...event, channels: ['email'] }

  test('for now is sent again, and the attempts are in the status', async () => {
    refusals = ['451 4.3.0 local error', '451 4.3.0 local error']

    await server.call('POST', '/api/v1/events', { id: 'retry_1', ...mail })

    const status = await server.statusOf('retry_1', ({ deliveries }) => deliveries[0]!.status === 'SENT')
    expect(status.deliveries[0]!.attempts_count).toBe(3)
    expect(status.deliveries[0]!.attempts.map((one) => one.verdict)).toEqual(['retry', 'retry'])
  })

  test('at every attempt becomes a dead letter', async () => {
    refusals = ['451 4.3.0 local error', '451 4.3.0 local error', '451 4.3.0 local error']

    await server.call('POST', '/api/v1/events', { id: 'dead_1', ...mail })

    await server.statusOf('dead_1', ({ deliveries }) => deliveries[0]!.status === 'FAILED')
    const dead = await server.database.db.query('select kind from dead')
    expect(dead).toEqual([{ kind: 'failed' }])
  })

  test('because nobody lives there: the address is not used again', async () => {
    refusals = ['550 5.1.1 no such user']

    await server.call('POST', '/api/v1/events', { id: 'gone_1', ...mail })
    await server.statusOf('gone_1', ({ deliveries }) => deliveries[0]!.status === 'FAILED')
    await server.call('POST', '/api/v1/events', { id: 'gone_2', ...mail })

    const status = await server.statusOf('gone_2', ({ deliveries }) => deliveries[0]!.status === 'SKIPPED')
    expect(status.not_told[0]!.reason).toBe('address_blocked')
  })
})

test('the address of an event lies below the address of the server, whatever its path', async () => {
  const server = await startTestApp({ PUBLIC_URL: 'https://example.com/notify/', CATALOG: 'catalog' })

  const { body } = await server.call('POST', '/api/v1/events', { ...event, id: 'a/b', channels: ['ws'] })

  expect(body.status_url).toBe('https://example.com/notify/api/v1/events/a%2Fb')
  await server.close()
})
