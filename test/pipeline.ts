import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { Channel } from '../src/channels/channel.ts'
import type { Event } from '../src/core/event.ts'
import type { EventTypeDefinition } from '../src/core/event-type.ts'
import { idGenerator } from '../src/core/id.ts'
import { oneAtATime } from '../src/core/one-at-a-time.ts'
import type { Db } from '../src/db/db.ts'
import { databaseDirectory } from '../src/directory/database.ts'
import { metrics } from '../src/metrics.ts'
import { accept, acceptBatch, type AcceptPorts, type Incoming } from '../src/pipeline/accept.ts'
import { deliver, type DeliverOptions } from '../src/pipeline/deliver.ts'
import { postgresQueue } from '../src/queue/postgres.ts'
import type { Claim, InstantLane } from '../src/queue/queue.ts'
import { liquidRenderer } from '../src/render/liquid-renderer.ts'
import { checkInvariants } from '../src/store/check-invariants.ts'
import { coalescedAccepts } from '../src/store/coalesced-accepts.ts'
import { NO_INSTANT_LANE } from '../src/store/instant-claims.ts'
import { insertEventType } from '../src/store/event-type.ts'
import type { Accepted } from '../src/store/event-rows.ts'
import { eventTypes } from '../src/store/event-types.ts'

const OPTIONS: DeliverOptions = {
  defaultLocale: 'en',
  publicUrl: () => 'http://localhost',
  leaseSeconds: 30,
  sendTimeoutSeconds: 30,
  uncertainResendSeconds: 0,
  alone: oneAtATime(),
}

/** The steps of one process over the queue, with two channels that write down what they send. */
export type Pipeline = {
  ports: AcceptPorts & Parameters<typeof deliver>[0]
  /** What was sent, in order: `channel user title`. */
  sent: string[]
  accept: (event: Partial<Event>, requestKey?: string) => Promise<Accepted>
  acceptBatch: (events: Partial<Event>[], requestKey?: string) => ReturnType<typeof acceptBatch>
  deliver: (claim: Claim) => Promise<void>
  /** Delivers what is due, retries too, until nothing is; returns how many deliveries that were. */
  deliverDue: () => Promise<number>
  close: () => Promise<void>
}

export type PipelineOptions = {
  /** Of row ids: two pipelines over one database are two processes. */
  processNumber?: number
  clock?: () => number
  instant?: Partial<InstantLane>
  /** Instead of noting that it was sent. */
  send?: Channel['send']
  leaseSeconds?: number
}

/** `mail` may be doubtful; `inbox`, an inbox, and `hook` may be repeated. Types are put with `putTypes`. */
export function pipeline(
  db: Db,
  { processNumber = 1, clock = Date.now, instant = {}, send, leaseSeconds = 30 }: PipelineOptions = {},
): Pipeline {
  const nextId = idGenerator(() => processNumber, clock)
  const workerId = randomUUID()
  const queue = postgresQueue({ db, nextId, workerId, leaseSeconds, resendAfterSeconds: 0 })
  const renderer = liquidRenderer()
  const sent: string[] = []
  const channel = (name: string, isInbox: boolean, isIdempotent: boolean): Channel => ({
    name,
    isInbox,
    isIdempotent,
    bodyFormat: 'text',
    prefersOwnText: true,
    onUncertain: 'resend',
    retrySeconds: [0, 0, 0, 0],
    address: ({ user_id: userId }) => ({ id: '1', channel: name, value: userId, state: 'active' }),
    send:
      send ??
      (async (address, { text }) => {
        sent.push(`${name} ${address.value} ${text.subject}`)
        return {}
      }),
  })
  const ports: Pipeline['ports'] = {
    db,
    nextId,
    queue,
    renderer,
    metrics: metrics(),
    eventTypes: eventTypes({ db }),
    directory: databaseDirectory(db),
    log: pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' }),
    channels: new Map(
      [channel('inbox', true, true), channel('mail', false, false), channel('hook', false, true)].map((one) => [
        one.name,
        one,
      ]),
    ),
    accepts: coalescedAccepts(db, queue, {
      ...NO_INSTANT_LANE,
      newLease: () => ({ leaseId: nextId(), workerId, leaseSeconds }),
      ...instant,
    }),
  }

  const run = (claim: Claim): Promise<void> =>
    deliver(ports, { ...OPTIONS, leaseSeconds }, claim, new AbortController().signal)
  return {
    ports,
    sent,
    accept: (event, requestKey) => accept(ports, '', incoming(event), requestKey),
    acceptBatch: (events, requestKey) => acceptBatch(ports, '', events.map(incoming), requestKey),
    deliver: run,
    async deliverDue() {
      let count = 0
      for (let found = true; found;) {
        found = false
        for (const lane of ['p2p', 'retry'] as const) {
          for (const channel of ports.channels.keys()) {
            const claim = await queue.claim({ channel, lane }, 50)
            if (!claim) continue
            found = true
            count += claim.deliveries.length
            await run(claim)
          }
        }
      }
      return count
    },
    async close() {
      await renderer.close()
      await queue.close()
    },
  }
}

/** An event as a form would have read it. */
export function incoming(event: Partial<Event>): Incoming {
  const whole = { type: 'mailed', user_id: 'anna', title: 'Title', body: 'Body', data: {}, ...event } as Event
  return { event: whole, body: whole, names: { type: 'type', data: 'data' } }
}

/** `mailed`, `shown`, `both` and `hooked`, and others. */
export async function putTypes(db: Db, others: readonly EventTypeDefinition[] = []): Promise<void> {
  const recipients = { path: 'user_id' }
  for (const type of [
    { type: 'mailed', recipients, channels: ['mail'] },
    { type: 'shown', recipients, channels: ['inbox'] },
    { type: 'both', recipients, channels: ['inbox', 'mail'] },
    { type: 'hooked', recipients, channels: ['hook'] },
    ...others,
  ]) {
    await insertEventType(db, '', type)
  }
}

/** What breaks the rules of `eventcenter verify`: nothing. */
export async function violations(db: Db): Promise<string[]> {
  const { findings } = await checkInvariants(db, {
    afterId: '0',
    limit: 5,
    pageSize: 20_000,
    knowledge: { inboxChannels: ['inbox'], eventsAfterId: '0', notificationDays: 0 },
  })
  return findings.flatMap(({ name, violations: found }) => found.map(({ id, detail }) => `${name} ${id}: ${detail}`))
}

/** So that the tests of a file do not meet. */
export const CLEAR = `truncate idem, event, delivery, ready, lease, intent, dead, attempt_log, notification, inbox, trace,
  cancellation, withdrawal, collapse, dedupe, thread, thread_waiting`
