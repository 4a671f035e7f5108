import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { eventually, startTestApp, type Answer, type TestApp } from './app.ts'
import { startSmtpServer, type SmtpDouble } from './smtp-server.ts'

let smtp: SmtpDouble
let server: TestApp
let isRefusing = false
beforeAll(async () => {
  smtp = await startSmtpServer({ refuse: () => (isRefusing ? '5.7.1 not today' : null) })
  server = await startTestApp({ SMTP_URL: smtp.url, MAIL_FROM: 'news@example.com', RETRY_SECONDS: '0' })
  await server.call('PUT', '/api/v1/users/anna', { email: 'anna@example.com', locale: 'en' })
  const type = { type: 'order.shipped', recipients: { path: 'data.user_id' }, channels: ['email'] }
  await server.call('POST', '/api/v1/event-types', type)
})
afterAll(async () => {
  await server.close()
  await smtp.close()
})
afterEach(() => {
  isRefusing = false
})

const KEY = { template_code: 'order.shipped', channel: 'email', locale: 'en' }
let templateId = ''
const say = async (subject: string): Promise<void> => {
  const words = { subject, body: '<p>{{ data.number }}</p>' }
  const answer = await (templateId === ''
    ? server.call('POST', '/api/v1/templates', { ...KEY, ...words })
    : server.call('PUT', `/api/v1/templates/${templateId}`, words))
  templateId = (answer.body as { id: string }).id
}
const orderShipped = (number: string) => ({
  event_id: `order-${number}`,
  event_type: 'order.shipped',
  source: 'test',
  occurred_at: new Date().toISOString(),
  payload: { user_id: 'anna', number },
})
/** Events that the mail server refuses for good; their ids. */
const refused = async (...numbers: string[]): Promise<string[]> => {
  isRefusing = true
  const ids: string[] = []
  for (const number of numbers) {
    const { body } = await server.call('POST', '/api/v1/events', orderShipped(number))
    ids.push((body as { event_id: string }).event_id)
  }
  for (const id of ids) await server.statusOf(id, ({ deliveries }) => deliveries[0]?.status === 'FAILED')
  isRefusing = false
  return ids
}
const letters = async (): Promise<Answer['body'][]> => (await server.call('GET', '/api/v1/dead-letters')).body.items
const letterOf = async (eventId: string) => (await letters()).find((letter) => letter.event_id === eventId)
const sent = (eventId: string) =>
  server.statusOf(eventId, ({ deliveries }) => deliveries.every(({ status }) => status === 'SENT'))
const mails = (subject: string): string[] =>
  smtp.mails.map(({ raw }) => raw).filter((raw) => raw.includes(`Subject: ${subject}`))

suite('a refused mail', () => {
  test('is sent again as it was, although its template has changed since', async () => {
    await say('First words')
    const [event = ''] = await refused('1204')
    await say('Second words')

    const { job_id: job } = await letterOf(event)
    const inspected = (await server.call('GET', `/api/v1/dead-letters/${job}`)).body
    const retried = await server.call('POST', `/api/v1/dead-letters/${job}/retry`, {})
    const status = await sent(event)

    expect(inspected).toMatchObject({ before: { subject: 'First words' }, now: { subject: 'Second words' } })
    expect(inspected.differs).toEqual(['template', 'subject'])
    expect(retried.status).toBe(202)
    expect(mails('First words')).toHaveLength(1)
    expect(mails('Second words')).toHaveLength(0)
    expect(status.deliveries).toMatchObject([{ attempts_count: 2, attempts: [{ n: 1 }] }])
    expect(await letterOf(event)).toBeUndefined()
  })

  test('is sent again with what was wrong in it put right', async () => {
    await say('Third words')
    const [event = ''] = await refused('wrong-number')

    const { job_id: job } = await letterOf(event)
    await say('Fourth words')
    await server.call('POST', `/api/v1/dead-letters/${job}/retry`, {
      data: { number: 'right-number' },
      template: 'current',
    })
    await sent(event)

    expect(mails('Third words')).toHaveLength(0)
    expect(mails('Fourth words')).toEqual([expect.stringContaining('right-number')])
  })

  test('that is refused again is a dead letter again, with all its attempts', async () => {
    const [event = ''] = await refused('7')
    const { job_id: job } = await letterOf(event)

    isRefusing = true
    await server.call('POST', `/api/v1/dead-letters/${job}/retry`, {})
    const letter = await eventually(async () => {
      const found = await letterOf(event)
      return found?.attempts_count === 2 ? found : null
    }, 'the second refusal')

    expect(letter).toMatchObject({ job_id: job, kind: 'failed', reason_group: expect.stringContaining('5.7.1') })
    const { body } = await server.call('GET', `/api/v1/dead-letters/${job}`)
    expect(body.attempts.map(({ n }: { n: number }) => n)).toEqual([1, 2])
    await server.call('DELETE', `/api/v1/dead-letters/${job}`)
  })

  test('is sent again with all others like it', async () => {
    await say('Fifth words')
    const events = await refused('21', '22', '23')

    const filter = { channel: 'email', type: 'order.shipped' }
    const dry = await server.call('POST', '/api/v1/dead-letters/replay', { filter, dry_run: true })
    const start = { filter, dry_run: false, expected_count: dry.body.count }
    const started = await server.call('POST', '/api/v1/dead-letters/replay', start, { 'idempotency-key': 'once' })
    for (const event of events) await sent(event)
    const replay = await eventually(async () => {
      const { body } = await server.call('GET', `/api/v1/replays/${started.body.id}`)
      return body.status === 'done' ? body : null
    }, 'the end of the replay')

    expect(dry.body).toMatchObject({ count: 3, expired: 0, groups: [{ count: 3 }] })
    expect(replay).toMatchObject({ total: 3, requeued: 3 })
    expect(mails('Fifth words')).toHaveLength(3)
    expect(await letters()).toEqual([])
  })
})
