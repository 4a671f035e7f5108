import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, suite, test } from 'vitest'
import { logger } from '../../src/log.ts'
import { API_KEY, JWT_SECRET, startTestApp } from '../app.ts'
import { startSmtpServer } from '../smtp-server.ts'
import { OWNER, prepare } from './examples.ts'

/** Each stands for something that must be in no log: texts, names, addresses, credentials. */
const CANARIES = {
  address: 'quetzal-mailbox',
  refusedAddress: 'kakapo-mailbox',
  brokenAddress: 'broken-toucan',
  name: 'Heron Canaryson',
  title: 'A hoopoe has landed',
  body: 'Its feathers are secret.',
  data: 'flamingo-payload',
  badJson: 'jackdaw-json',
  wrongKey: `sk_${'wrongbird'.repeat(6)}`,
  apiKey: API_KEY,
  jwtSecret: JWT_SECRET,
}

const lines: string[] = []
const smtp = await startSmtpServer({
  refuse: (recipient) =>
    recipient.includes('kakapo')
      ? `5.1.1 <${recipient}>: Recipient address rejected, user ${recipient.split('@')[0]} unknown`
      : null,
})
const server = await startTestApp(
  {
    SMTP_URL: smtp.url,
    MAIL_FROM: 'EventCenter <news@example.com>',
    RETRY_SECONDS: '0',
  },
  { log: logger('trace', { write: (line: string) => void lines.push(line) }) },
)
afterAll(async () => {
  await server.close()
  await smtp.close()
})

suite('the log of a day', () => {
  test('holds no credentials, no addresses and no texts', async () => {
    await prepare(server)
    const company = { 'x-company-id': OWNER.companyId }
    const token = await server.token('anna', { company_id: OWNER.companyId })
    const user = (address: string) => ({ email: `${address}@example.com`, profile: { name: CANARIES.name } })
    const event = (userId: string) => ({
      user_id: userId,
      type: 'test.happened',
      title: CANARIES.title,
      body: CANARIES.body,
      data: { note: CANARIES.data },
      channels: ['ws', 'email'],
    })

    await server.call('PUT', '/api/v1/users/anna', user(CANARIES.address), company)
    await server.call('PUT', '/api/v1/users/boris', user(CANARIES.refusedAddress), company)
    await server.call('PUT', '/api/v1/users/carl', { email: `${CANARIES.brokenAddress}@@example.com` }, company)
    const events = [
      await server.call('POST', '/api/v1/events', event('anna'), company),
      await server.call('POST', '/api/v1/events', event('boris'), company),
    ]
    await server.call('POST', '/api/v1/events', { ...event('anna'), type: CANARIES.badJson }, company)
    await server.call('POST', '/api/v1/events', `{"a": ${CANARIES.badJson}`, company)
    await server.call('GET', `/api/v1/notifications?token=${token}`, undefined, { authorization: `Bearer ${token}` })
    await server.call('GET', '/api/v1/keys', undefined, { authorization: `Bearer ${CANARIES.wrongKey}` })
    await fetch(`${server.url}/api/v1/ws/notifications?token=${token}`)
    const session = await server.connect('anna')
    session.close()
    const statuses = await Promise.all(events.map(({ body }) => finished(body.event_id as string)))

    const log = lines.join('')
    const metrics = (await server.call('GET', '/metrics')).body as string
    const attempts = JSON.stringify(await server.database.db.query('select * from attempt_log'))
    const all = { ...CANARIES, token, signature: token.split('.')[2] ?? '' }
    expect(statuses.flat()).toContain('SENT')
    expect(statuses.flat()).toContain('FAILED')
    for (const [what, canary] of Object.entries(all)) {
      expect(log.includes(canary), `${what} in the log`).toBe(false)
      expect(metrics.includes(canary), `${what} in the metrics`).toBe(false)
      expect(attempts.includes(canary), `${what} in the attempts`).toBe(false)
    }
    expect(lines.length).toBeGreaterThan(0)

    /** The statuses of its deliveries, when all are final. */
    async function finished(id: string): Promise<string[]> {
      for (;;) {
        const { body } = await server.call('GET', `/api/v1/events/${id}`, undefined, company)
        const found = (body.deliveries as { status: string }[]).map(({ status }) => status)
        if (found.every((status) => ['SENT', 'FAILED', 'EXPIRED'].includes(status))) return found
        await sleep(50)
      }
    }
  })
})
