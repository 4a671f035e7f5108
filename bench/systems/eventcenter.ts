import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { EventTypeDefinition } from '../../src/core/event-type.ts'
import { idGenerator } from '../../src/core/id.ts'
import { migrate } from '../../src/db/migrate.ts'
import { connect } from '../../src/db/pool.ts'
import { metrics as openMetrics } from '../../src/metrics.ts'
import { accept, acceptBatch, type Incoming } from '../../src/pipeline/accept.ts'
import { startWorker, type Worker } from '../../src/pipeline/worker.ts'
import { postgresQueue } from '../../src/queue/postgres.ts'
import type { Claim, Result } from '../../src/queue/queue.ts'
import { coalescedAccepts } from '../../src/store/coalesced-accepts.ts'
import { insertEventType } from '../../src/store/event-type.ts'
import { eventTypes } from '../../src/store/event-types.ts'
import { putTemplate } from '../../src/store/template.ts'
import { noop } from './noop-channel.ts'
import type { OpenOptions, Payload, System } from './system.ts'

/** One delivery per event, over the channel that does nothing, with a template to render. */
const TYPE: EventTypeDefinition = { type: 'bench.job', recipients: { path: 'data.user_id' }, channels: ['noop'] }
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
  const log = pino({ level: 'error' }, pino.destination(2))
  const db = connect(url, { maxConnections: 10 })
  const nextId = idGenerator(() => process.pid % 256)
  const queue = postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: 30, isShared: true })
  const channel = noop.open({}, {} as Parameters<typeof noop.open>[1])
  const channels = new Map([[channel.name, channel]])
  const newLease = () => ({ leaseId: nextId(), workerId: randomUUID(), leaseSeconds: 30 })
  let instant: Worker['instant'] = {
    reserve: () => false,
    release() {},
    run() {},
    isStarted: () => false,
    canShow: () => false,
    show() {},
  }
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
      const slots = claimSize === 50 ? 50 : 2 * claimSize
      const mayRepeat = claimSize > 50
      const worker = startWorker({ queue, log, channels }, { slots, batchSize: claimSize }, (claim) =>
        handle(claim, mayRepeat, handler),
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

  async function handle({ leaseId, deliveries }: Claim, mayRepeat: boolean, handler: (payload: Payload) => void) {
    const ids = deliveries.map(({ id }) => id)
    const allowed = new Set(mayRepeat ? ids : await queue.start(leaseId, ids))
    const results: Result[] = []
    for (const delivery of deliveries) {
      if (!allowed.has(delivery.id)) continue
      handler(delivery.event.data as Payload)
      results.push({ id: delivery.id, state: 'sent' })
    }
    await queue.finish(leaseId, results)
    if (results.length < deliveries.length) await queue.release(leaseId)
  }
}

function incoming(payload: Payload): Incoming {
  const data = { ...payload, user_id: `user-${payload.n % 10_000}` }
  const event = { id: randomUUID(), type: TYPE.type, source: 'bench', data }
  return { event, body: event, names: { type: 'type', data: 'data' } }
}
