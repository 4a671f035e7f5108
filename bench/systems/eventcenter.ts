import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { EventTypeDefinition } from '../../src/core/event-type.ts'
import { idGenerator } from '../../src/core/id.ts'
import { migrate } from '../../src/db/migrate.ts'
import { connect } from '../../src/db/pool.ts'
import { metrics as openMetrics } from '../../src/metrics.ts'
import { accept, acceptBatch, type Incoming } from '../../src/pipeline/accept.ts'
import { startWorker } from '../../src/pipeline/worker.ts'
import { postgresQueue } from '../../src/queue/postgres.ts'
import type { Hands } from '../../src/queue/claim-loop.ts'
import type { Claim, ClaimedDelivery } from '../../src/queue/queue.ts'
import { recorder } from '../../src/queue/recorder.ts'
import { coalescedAccepts } from '../../src/store/coalesced-accepts.ts'
import { insertEventType } from '../../src/store/event-type.ts'
import { eventTypes } from '../../src/store/event-types.ts'
import { NO_INSTANT_LANE } from '../../src/store/instant-claims.ts'
import { putTemplate } from '../../src/store/template.ts'
import { noop } from './noop-channel.ts'
import type { OpenOptions, Payload, System } from './system.ts'

/** One delivery per event, over the channel that does nothing, with a template to render. */
const TYPE: EventTypeDefinition = { type: 'bench.job', recipients: { path: 'data.user_id' }, channels: ['noop'] }
const LEASE_SECONDS = 30
const TEMPLATE = { template_code: 'bench.job', channel: 'noop', locale: 'en' }

export async function prepare(url: string): Promise<void> {
  await migrate(url)
  const db = connect(url, { maxConnections: 1 })
  await insertEventType(db, '', TYPE)
  await putTemplate(db, '', {
    ...TEMPLATE,
    subject: 'Job {{ data.n }}',
    body: 'For {{ user.user_id }}: {{ data.text }}',
  })
  await db.close()
}

/**
 * The store's level: events are accepted as the API accepts them, and deliveries are claimed, begun and recorded as the
 * worker does it, without looking up people and rendering.
 */
export async function open({ url, settings }: OpenOptions): Promise<System> {
  const claimSize = Number(settings.claimSize)
  const isIdempotent = settings.isIdempotent === true
  const workerId = randomUUID()
  const log = pino({ level: 'error' }, pino.destination(2))
  const db = connect(url, { maxConnections: 10 })
  const nextId = idGenerator(() => process.pid % 256)
  const queue = postgresQueue({ db, nextId, workerId, leaseSeconds: LEASE_SECONDS, isShared: true })
  const channel = { ...noop.open({}, {} as Parameters<typeof noop.open>[1]), isIdempotent }
  const channels = new Map([[channel.name, channel]])
  const newLease = () => ({ leaseId: nextId(), workerId, leaseSeconds: LEASE_SECONDS })
  let instant = NO_INSTANT_LANE
  const accepts = coalescedAccepts(db, queue, {
    reserve: (...wanted) => instant.reserve(...wanted),
    release: (...unused) => instant.release(...unused),
    run: (claim) => instant.run(claim),
    isStarted: (name) => instant.isStarted(name),
    canShow: (name) => instant.canShow(name),
    show: (claim) => instant.show(claim),
    newLease,
  })
  const ports = { db, queue, accepts, eventTypes: eventTypes({ db }), channels, nextId, metrics: openMetrics() }

  return {
    enqueueOne: (payload) => accept(ports, '', incoming(payload)),
    enqueueMany: (payloads) => acceptBatch(ports, '', payloads.map(incoming)),

    async work(handler) {
      // While the results of one claim are recorded, the next is handled.
      const slots = 2 * claimSize
      const worker = startWorker({ queue, log, channels }, { slots, batchSize: claimSize }, (claim, _signal, hands) =>
        handle(claim, hands, handler),
      )
      instant = worker.instant
      return { stop: () => worker.stop(10) }
    },

    async isDrained() {
      const rows = await db.query('select 1 from delivery where state = 0 limit 1')
      return rows.length === 0
    },

    async close() {
      await queue.close()
      await db.close()
    },
  }

  async function handle(claim: Claim, { onOver, next }: Hands, handler: (payload: Payload) => void): Promise<void> {
    const record = recorder(queue, claim, { leaseSeconds: LEASE_SECONDS, next })
    const send = async ({ id, event }: ClaimedDelivery): Promise<void> => {
      if (!isIdempotent && !(await record.start(id))) return
      handler(event.data as Payload)
      await record.finish({ id, state: 'sent' })
      onOver()
    }
    await Promise.all(claim.deliveries.map(send))
    await record.end()
  }
}

export function incoming(payload: Payload): Incoming {
  const data = { ...payload, user_id: `user-${payload.n % 10_000}` }
  const event = { id: randomUUID(), type: TYPE.type, source: 'bench', data }
  return { event, body: event, names: { type: 'type', data: 'data' } }
}
