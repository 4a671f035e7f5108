import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import type { EventStatus } from '../src/http/event-status-schema.ts'
import { startServerProcess, type ServerProcess } from './server-process.ts'
import { startSmtpServer, type SmtpDouble } from './smtp-server.ts'

suite('a server on a bare machine', () => {
  let directory: string
  let smtp: SmtpDouble
  let server: ServerProcess | undefined

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-restart-'))
    // PostgreSQL does not run as root.
    await chmod(directory, 0o711)
    smtp = await startSmtpServer()
  })
  afterEach(async () => {
    await server?.end('SIGTERM')
    server = undefined
  })
  afterAll(async () => {
    await smtp.close()
    await rm(directory, { recursive: true })
  })

  const start = async (name: string): Promise<ServerProcess> => {
    server = await startServerProcess({
      DATABASE_URL: `embedded:${path.join(directory, name)}`,
      SMTP_URL: smtp.url,
      MAIL_FROM: 'news@example.com',
      LEASE_SECONDS: '5',
      RETRY_SECONDS: '0',
    })
    await server.call('PUT', '/api/v1/users/anna', { email: 'anna@example.com' })
    return server
  }
  const event = { user_id: 'anna', type: 'job.done', title: 'Ready', body: 'Look', channels: ['ws', 'email'] }
  const sent = () => smtp.mails.map(({ raw }) => /^Message-ID: (.*)$/im.exec(raw)?.[1]?.trim())

  test('shows its first key once, and says later where it lies', async () => {
    const first = await start('banner')
    const key = (await readFile(path.join(directory, 'banner/api-key'), 'utf8')).trim()

    expect(first.output()).toContain(key)
    expect(first.output()).toMatch(/curl -X POST http/)
    const answer = await first.call('POST', '/api/v1/events', event, { authorization: `Bearer ${key}` })
    expect(answer.status).toBe(202)
    expect(await first.end('SIGINT')).toBe(0)

    const second = await start('banner')
    expect(second.output()).not.toContain(key)
    expect(second.output()).toContain('api-key')
  })

  test('finds everything again after a clean stop', async () => {
    const first = await start('clean')
    await first.call('POST', '/api/v1/events', { id: 'clean-1', ...event })
    await first.statusOf('clean-1', isSent)
    expect(await first.end('SIGTERM')).toBe(0)

    const second = await start('clean')

    const { body } = await second.callAs('anna', 'GET', '/api/v1/notifications')
    expect(body.items.map((item: { event_id: string }) => item.event_id)).toEqual(['clean-1'])
    expect(
      ((await second.call('GET', '/api/v1/events/clean-1')).body as EventStatus).deliveries.map((one) => one.status),
    ).toEqual(['SENT', 'SENT'])
  })

  test('killed in the middle loses nothing that it had accepted', async () => {
    const first = await start('killed')
    const accepted: string[] = []
    const load = Promise.all(
      Array.from({ length: 10 }, async (_, caller) => {
        for (let i = 0; i < 1000; i++) {
          const id = `killed-${caller}-${i}`
          const answer = await first.call('POST', '/api/v1/events', { id, ...event }).catch(() => null)
          if (answer === null) return
          if (answer.status === 202) accepted.push(id)
        }
      }),
    )
    await expect.poll(() => accepted.length, { timeout: 10_000 }).toBeGreaterThan(50)

    await first.end('SIGKILL')
    await load
    const second = await start('killed')

    expect(second.output()).toContain('found the database still running')
    for (const id of accepted) {
      const status = await second.statusOf(id, ({ deliveries }) =>
        deliveries.every((one) => one.status === 'SENT' || (one.channel === 'email' && one.status === 'RETRYING')),
      )
      expect(status.deliveries).toHaveLength(2)
      const mail = status.deliveries.find((one) => one.channel === 'email' && one.status === 'SENT')
      if (mail) expect(sent()).toContain(`<dlv-${mail.job_id}@example.com>`)
    }
    const inbox = await second.callAs('anna', 'GET', '/api/v1/notifications/unread-count')
    expect(inbox.body.unread_count).toBeGreaterThanOrEqual(accepted.length)
  }, 60_000)

  test('refuses a directory that another one uses, in clear words', async () => {
    await start('shared')

    await expect(startServerProcess({ DATABASE_URL: `embedded:${path.join(directory, 'shared')}` })).rejects.toThrow(
      /ended with 1:[^]*another/i,
    )
  })
})

const isSent = ({ deliveries }: EventStatus) => deliveries.every((one) => one.status === 'SENT')
