import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { idOfUuid } from '../../src/core/id.ts'
import type { EventStatus } from '../../src/http/event-status-schema.ts'
import type { ServerProcess } from '../server-process.ts'
import { socketProxy } from '../socket-proxy.ts'
import { DATABASE_SERVERS, startDatabaseServer, type DatabaseServer } from './database-server.ts'
import { openStage, PATIENCE_MS, type Stage } from './stage.ts'

const RESEND = { EMAIL_UNCERTAIN: 'resend' }
const HOLD = { EMAIL_UNCERTAIN: 'hold' }

/** What becomes of mail whose worker dies, stops, or is not heard. */
suite.each(DATABASE_SERVERS)('over %s, a mail whose worker', (kind) => {
  let databaseServer: DatabaseServer
  let stage: Stage

  beforeAll(async () => {
    databaseServer = await startDatabaseServer(kind)
  })
  beforeEach(async () => {
    stage = await openStage(databaseServer)
  })
  afterEach(() => stage.close())
  afterAll(() => databaseServer.stop())

  const event = { user_id: 'anna', type: 'job.done', title: 'Ready', body: 'Look', channels: ['email'] }
  /** Starts what accepts events, and takes over what dead workers held. */
  async function startApi(settings: Record<string, string>): Promise<ServerProcess> {
    const api = await stage.start('api,scheduler', settings)
    for (const user of ['anna', 'eve']) {
      await api.call('PUT', `/api/v1/users/${user}`, { email: `${user}@example.com` })
    }
    return api
  }
  const send = async (api: ServerProcess, id: string) =>
    expect((await api.call('POST', '/api/v1/events', { id, ...event })).status).toBe(202)
  const copies = (user = 'anna') => stage.receiver.received().filter(({ to }) => to === `${user}@example.com`)
  /** It is a worker's, who wants to know where to send it, and is not told. */
  const isHeldBeforeSending = async () => {
    await stage.untilRows(1, 'select from lease')
    await stage.someoneWaits()
  }

  test.each([
    ['without a doubt where doubts are held', HOLD, []],
    ['where doubts are resent', RESEND, expect.any(Array)],
  ])('dies before it sends is sent by another once, %s (F-05)', async (_, policy, doubts) => {
    const api = await startApi(policy)
    const unlock = await stage.lock('directory_user', 'access exclusive')
    const first = await stage.start('worker', policy)
    await send(api, 'dies')
    await isHeldBeforeSending()
    await first.end('SIGKILL')
    await unlock()

    await stage.start('worker', policy)

    const delivery = await stage.ends('dies', 'SENT')
    expect(verdicts(delivery)).toEqual(doubts)
    expect(copies()).toHaveLength(1)
  })

  test('dies when it was taken is sent once more under the same Message-ID, where that is the policy (F-06)', async () => {
    const api = await startApi(RESEND)
    await stage.receiver.set('take-and-hang')
    const first = await stage.start('worker', RESEND)
    await send(api, 'taken')
    await stage.receiver.untilReceived(1)
    await first.end('SIGKILL')
    await stage.receiver.set('take')

    await stage.start('worker', RESEND)

    const delivery = await stage.ends('taken', 'SENT')
    expect(verdicts(delivery)).toEqual(['uncertain'])
    expect(copies().map((mail) => mail.message_id)).toEqual(Array(2).fill(`<dlv-${delivery.job_id}@example.com>`))
  })

  test('dies when it was taken waits for a person, where that is the policy (F-06)', async () => {
    const api = await startApi(HOLD)
    await stage.receiver.set('take-and-hang')
    const first = await stage.start('worker', HOLD)
    await send(api, 'taken')
    await stage.receiver.untilReceived(1)
    await first.end('SIGKILL')
    await stage.receiver.set('take')

    await stage.start('worker', HOLD)

    const delivery = await stage.ends('taken', 'UNCERTAIN')
    expect(verdicts(delivery)).toEqual(['uncertain'])
    expect(copies()).toHaveLength(1)
  })

  test.each([
    ['hold', HOLD],
    ['resend', RESEND],
  ])(
    'stops before it sends, until another has sent it, sends nothing when it goes on: %s (F-09)',
    async (_, policy) => {
      const api = await startApi(policy)
      const unlock = await stage.lock('directory_user', 'access exclusive')
      const first = await stage.start('worker', policy)
      await send(api, 'stops')
      await isHeldBeforeSending()
      first.process.kill('SIGSTOP')
      await unlock()
      await stage.start('worker', policy)
      await stage.ends('stops', 'SENT')

      first.process.kill('SIGCONT')

      await isAwake(first)
      expect(copies()).toHaveLength(1)
    },
  )

  test('stops while it is taken, until it was given up, cannot record what it then hears (F-09)', async () => {
    const api = await startApi(HOLD)
    await stage.receiver.set('take-and-hang')
    const first = await stage.start('worker', HOLD)
    await send(api, 'stops')
    await stage.receiver.untilReceived(1)
    first.process.kill('SIGSTOP')
    await stage.ends('stops', 'UNCERTAIN')
    await stage.receiver.set('take')

    first.process.kill('SIGCONT')

    await isAwake(first)
    expect(verdicts(await stage.ends('stops', 'UNCERTAIN'))).toEqual(['uncertain'])
    expect(copies()).toHaveLength(1)
  })

  test.each([
    ['was sent', 'take', [], 1],
    ['may have been sent', 'take-and-drop', ['uncertain'], 2],
  ] as const)(
    'records that it %s, and is not told that this was done, does so once (F-11)',
    async (_, mode, doubts, mails) => {
      // Later than the worker tells it again: only then is there anything to be doubled.
      const policy = { ...RESEND, UNCERTAIN_RESEND_SECONDS: '2' }
      const api = await startApi(policy)
      await stage.receiver.set('stall')
      const events = ['anna', 'eve'].map((user) => ({ ...event, id: user, user_id: user }))
      expect((await api.call('POST', '/api/v1/events/batch', { events })).status).toBe(202)
      const { body } = await api.call('GET', '/api/v1/events/anna')
      const deliveryId = idOfUuid((body as EventStatus).deliveries[0]!.job_id) as string
      const proxy = await socketProxy(stage.database.url)
      const worker = await stage.start('worker', { ...policy, DATABASE_URL: proxy.url })
      await stage.receiver.untilWaiting(2)
      proxy.loseAnswers(deliveryId)

      await stage.receiver.set(mode, 'anna@example.com')
      await stage.untilRows(1, 'select from delivery where state <> 0 or attempt > 0')
      await stage.receiver.set('take', 'anna@example.com')
      proxy.cut()
      await stage.ends('anna', 'SENT')
      await stage.receiver.set('take')

      await stage.ends('eve', 'SENT')
      await isAwake(worker)
      const delivery = await stage.ends('anna', 'SENT')
      expect(verdicts(delivery)).toEqual(doubts)
      expect(delivery.attempts_count).toBe(mails)
      expect(copies()).toHaveLength(mails)
      await worker.end('SIGTERM')
      await proxy.close()
    },
  )

  test('is ended by it three times is given up, and what it sent meanwhile is not (F-50)', async () => {
    const api = await startApi(RESEND)
    await stage.receiver.set('dawdle')
    await stage.receiver.set('take-and-hang', 'eve@example.com')
    const events = Array.from({ length: 10 }, (_, n) => ({ ...event, id: `e-${n}`, user_id: n === 5 ? 'eve' : 'anna' }))
    expect((await api.call('POST', '/api/v1/events/batch', { events })).status).toBe(202)

    for (let death = 1; death <= 3; death++) {
      const worker = await stage.start('worker', RESEND)
      await expect.poll(() => copies('eve').length, { timeout: PATIENCE_MS }).toBe(death)
      await worker.end('SIGKILL')
    }
    await stage.start('worker', RESEND)

    const delivery = await stage.ends('e-5', 'FAILED')
    expect(verdicts(delivery)).toEqual(['uncertain', 'uncertain', 'uncertain'])
    for (const { id, user_id } of events) if (user_id === 'anna') await stage.ends(id, 'SENT')
    const letters = await stage.database.db.query('select kind from dead')
    expect(letters).toEqual([{ kind: 'failed' }])
  }, 180_000)
})

const verdicts = ({ attempts }: EventStatus['deliveries'][number]) => attempts.map(({ verdict }) => verdict)

/** It answers again, and had time to do what it was about to do. */
async function isAwake({ call }: ServerProcess): Promise<void> {
  await expect.poll(async () => (await call('GET', '/health')).status, { timeout: PATIENCE_MS }).toBe(200)
  await sleep(1500)
}
