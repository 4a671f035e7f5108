import { randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { heedingChannels } from '../src/accounts/heeding-channel.ts'
import { providerAccounts } from '../src/accounts/provider-accounts.ts'
import type { Channel } from '../src/channels/channel.ts'
import { idGenerator } from '../src/core/id.ts'
import { oneAtATime } from '../src/core/one-at-a-time.ts'
import type { JsonObject } from '../src/core/json.ts'
import { connect } from '../src/db/pool.ts'
import { databaseDirectory } from '../src/directory/database.ts'
import { metrics as openMetrics } from '../src/metrics.ts'
import { accept } from '../src/pipeline/accept.ts'
import { deliver } from '../src/pipeline/deliver.ts'
import { startWorker } from '../src/pipeline/worker.ts'
import { postgresQueue } from '../src/queue/postgres.ts'
import { liquidRenderer } from '../src/render/liquid-renderer.ts'
import { coalescedAccepts } from '../src/store/coalesced-accepts.ts'
import { insertEventType } from '../src/store/event-type.ts'
import { eventTypes } from '../src/store/event-types.ts'

export type ThrottleTask = {
  url: string
  /** The first process makes the events. */
  number: number
  perSecond: number
  seconds: number
  reservePercent: number
  hasList: boolean
  personalPerSecond: number
}

/** When a message was sent; of one to a person, how long after its event came. */
export type Sent = { at: number; waitedMs: number | null }

const LEASE_SECONDS = 30

/** Delivers over a channel that takes nothing but notes when, and tells the parent of each message. */
export async function runThrottledWorker(task: ThrottleTask): Promise<void> {
  const { url, number, perSecond, seconds, reservePercent } = task
  const db = connect(url, { maxConnections: 10 })
  const log = pino({ level: 'error' }, pino.destination(2))
  const nextId = idGenerator(() => number + 1)
  const metrics = openMetrics()
  const queue = postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: LEASE_SECONDS, isShared: true })
  const letter: Channel = {
    name: 'letter',
    bodyFormat: 'text',
    isInbox: false,
    prefersOwnText: true,
    isIdempotent: false,
    onUncertain: 'resend',
    account: { key: 'letter', perSecond },
    retrySeconds: [1],
    address: ({ user_id: userId }) => ({ id: '', channel: 'letter', value: userId, state: 'active' }),
    send: async (_address, { event }) => {
      const at = performance.timeOrigin + performance.now()
      const { acceptedAt } = event.data as { acceptedAt?: number }
      process.send?.({ at, waitedMs: acceptedAt === undefined ? null : at - acceptedAt } satisfies Sent)
      return {}
    },
  }
  const channels = new Map([['letter', letter]])
  const accounts = providerAccounts({ db, channels, metrics, log }, { reservePercent, isShared: true })
  const heeding = heedingChannels(channels, accounts)
  if (number === 0) await makeTypes()
  const types = eventTypes({ db })
  const renderer = liquidRenderer()
  const ports = { db, queue, directory: databaseDirectory(db), channels, eventTypes: types, renderer, metrics, log }
  const worker = startWorker(ports, { slots: 50, batchSize: 50, throttle: accounts }, (claim, signal, hands) =>
    deliver({ ...ports, channels: heeding[claim.lane] }, OPTIONS, claim, signal, hands),
  )
  const newLease = () => ({ leaseId: nextId(), workerId: randomUUID(), leaseSeconds: LEASE_SECONDS })
  const accepts = coalescedAccepts(db, queue, { ...worker.instant, newLease })

  if (number === 0) {
    await sleep(2000) // the others have started
    const list = Array.from({ length: Math.ceil(perSecond * (seconds + 5)) }, (_, n) => `user-${n}`)
    if (task.hasList)
      for (let n = 0; n < list.length; n += 500) await take('list', { user_ids: list.slice(n, n + 500) })
    const endsAt = performance.now() + seconds * 1000
    while (task.personalPerSecond > 0 && performance.now() < endsAt) {
      await sleep(((0.5 + Math.random()) * 1000) / task.personalPerSecond)
      await take('own', { user_ids: ['anna'], acceptedAt: performance.timeOrigin + performance.now() })
    }
  }
  await sleep(
    (seconds + (number === 0 ? 0.5 : 3.5) - (task.personalPerSecond > 0 && number === 0 ? seconds : 0)) * 1000,
  )
  process.exit(0)

  async function makeTypes(): Promise<void> {
    const recipients = { path: 'data.user_ids' }
    await insertEventType(db, '', { type: 'list', recipients, channels: ['letter'], lane: 'broadcast' })
    await insertEventType(db, '', { type: 'own', recipients, channels: ['letter'] })
  }

  async function take(type: string, data: JsonObject): Promise<void> {
    const event = { id: randomUUID(), type, source: 'bench', title: 'Title', body: 'Body', data }
    await accept({ ...ports, accepts, nextId }, '', { event, body: event, names: { type: 'type', data: 'data' } })
  }
}

const OPTIONS = {
  defaultLocale: 'en',
  publicUrl: () => 'http://localhost',
  leaseSeconds: LEASE_SECONDS,
  sendTimeoutSeconds: 30,
  uncertainResendSeconds: 300,
  alone: oneAtATime(),
}
