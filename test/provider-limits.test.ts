import { afterEach, beforeEach, expect, suite, test } from 'vitest'
import { pino } from 'pino'
import { startApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { API_KEY, JWT_SECRET, startTestApp, type TestApp } from './app.ts'
import { startBrokenSmtpServer, type BrokenSmtpServer } from './broken-smtp-server.ts'

const PEOPLE = Array.from({ length: 40 }, (_, n) => `person-${n}`)

/** Two servers over one database send through one account of a mail server that does as it is told. */
suite('two servers with one account', () => {
  let smtp: BrokenSmtpServer
  let test1: TestApp
  const closers: (() => Promise<void>)[] = []
  const lines: Record<string, unknown>[] = []

  async function start(env: Record<string, string>): Promise<void> {
    const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
    const mail = { SMTP_URL: smtp.url, MAIL_FROM: 'news@example.com', SMTP_CONNECTIONS: '10', ...env }
    test1 = await startTestApp(mail, { log })
    const settings = { PORT: '0', DATABASE_URL: test1.database.url, API_KEYS: API_KEY, JWT_SECRET, ...mail }
    const app2 = await startApp(
      readConfig(settings, () => ''),
      { log },
    )
    closers.push(() => test1.close(), app2.close)
    const call = test1.call
    const put = await call('POST', '/api/v1/event-types', {
      type: 'letter',
      recipients: { path: 'data.user_ids' },
      channels: ['email'],
      lane: 'broadcast',
    })
    expect(put).toMatchObject({ status: 201 })
    const template = { template_code: 'letter', locale: 'en', channel: 'email', subject: 'News', body: '<p>Some</p>' }
    expect(await call('POST', '/api/v1/templates', template)).toMatchObject({ status: 201 })
    for (const id of PEOPLE) await call('PUT', `/api/v1/users/${id}`, { email: `${id}@example.com` })
  }
  const letter = async (id: string, people = PEOPLE): Promise<void> => {
    const occurredAt = new Date().toISOString()
    const event = {
      event_id: id,
      event_type: 'letter',
      source: 'test',
      occurred_at: occurredAt,
      payload: { user_ids: people },
    }
    const answer = await test1.call('POST', '/api/v1/events', event)
    expect(answer).toMatchObject({ status: 202 })
  }
  const own = { user_id: 'person-1', type: 'job.done', title: 'Yours', body: 'Code 1', channels: ['email'] }
  const statusesOf = async (id: string): Promise<string[]> => {
    const { deliveries } = await test1.statusOf(id, () => true)
    return deliveries.map(({ status }) => status)
  }

  beforeEach(async () => {
    smtp = await startBrokenSmtpServer()
  })
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
    await smtp.close()
    lines.length = 0
  })
  test('send a list as fast as the account allows, and a message to one person before it', async () => {
    await start({ EMAIL_PER_SECOND: '10' })
    await letter('letter')
    await expect.poll(() => smtp.bodies.length).toBeGreaterThan(2)

    const startedAt = Date.now()
    const { body } = await test1.call('POST', '/api/v1/events', own)
    const status = await test1.statusOf(body.event_id, ({ deliveries }) => deliveries[0]?.status === 'SENT')
    const tookMs = Date.now() - startedAt
    const sentBefore = smtp.bodies.length

    expect(status.deliveries).toHaveLength(1)
    expect(tookMs).toBeLessThan(1000)
    // The rest waits in the queue, where it can be cancelled.
    expect(sentBefore).toBeLessThan(25)
    await test1.call('DELETE', '/api/v1/events/letter')
    await expect.poll(() => statusesOf('letter')).not.toContain('PENDING')
    expect((await statusesOf('letter')).filter((one) => one === 'CANCELLED').length).toBeGreaterThan(10)
  })

  test('both stop when the provider says wait, and lose neither a mail nor an attempt', async () => {
    await start({ WORKER_CONCURRENCY: '5' })
    smtp.script = { mail: '421 4.7.0 Too much mail, try again in 2 seconds' }
    await letter('letter')
    const { body } = await test1.call('POST', '/api/v1/events', own)

    const waiting = await test1.statusOf(body.event_id, ({ deliveries }) => deliveries[0]?.reason !== null)
    const asked = smtp.commands.filter((command) => command.startsWith('MAIL')).length
    smtp.script = {}
    await expect.poll(() => smtp.bodies.length, { timeout: 15_000, interval: 100 }).toBe(PEOPLE.length + 1)

    expect(waiting.deliveries[0]).toMatchObject({ status: 'PENDING', attempts_count: 0 })
    expect(waiting.deliveries[0]?.reason).toMatch(/^account_stopped$|^rate: 421|takes nothing/)
    expect(Date.parse(waiting.deliveries[0]?.run_at ?? '')).toBeGreaterThan(Date.now() - 15_000)
    // Only those that were on their way when the first answer came were refused too.
    expect(asked).toBeLessThan(20)
    await expect.poll(() => statusesOf('letter')).toEqual(PEOPLE.map(() => 'SENT'))
    const { deliveries } = await test1.statusOf('letter', () => true)
    expect(deliveries.every(({ attempts, attempts_count }) => attempts.length === 0 && attempts_count === 1)).toBe(true)
    expect(lines.filter(({ msg }) => msg === 'provider account stopped')).toHaveLength(1)
  })

  test('spend nothing of it on people who have no address', async () => {
    await start({ EMAIL_PER_SECOND: '2' })
    const strangers = Array.from({ length: 60 }, (_, n) => `stranger-${n}`)

    await letter('strangers', strangers)

    // By the rate alone it would be more than half a minute.
    await expect
      .poll(() => statusesOf('strangers'), { timeout: 15_000, interval: 100 })
      .toEqual(strangers.map(() => 'SKIPPED'))
  })
})
