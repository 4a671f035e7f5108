import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { AppError, invalidField, invalidFields } from '../core/errors.ts'
import { accept, acceptBatch, type AcceptPorts, type Incoming } from '../pipeline/accept.ts'
import { cancelByKey, cancelEvent } from '../pipeline/cancel.ts'
import { deliveriesOf, notificationsOf, tracesOf } from '../store/event-status.ts'
import type { Accepted } from '../store/event-rows.ts'
import { eventById } from '../store/find-event.ts'
import { initiatedBy, serviceCaller } from './access.ts'
import { cloudEventForm, domainForm, readEvent, universalForm } from './event-forms.ts'

import { eventStatusSchema } from './event-status-schema.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'

const BATCH_BODY_LIMIT_BYTES = 4 * 1024 * 1024
const MAX_BATCH = 1000

type EventOptions = {
  /** Where callers reach this server. */
  publicUrl: () => string
  /** Accepts that may wait for the database at once; more are refused, so that an outage does not fill the memory. */
  maxWaitingAccepts: number
}

const acceptedSchema = z.object({
  status: z.literal('accepted'),
  event_id: z.string(),
  jobs_count: z.number().int().nullable(),
  status_url: z.string(),
  deduplicated: z
    .literal(true)
    .optional()
    .describe(
      'An event with this dedupe key was accepted before: this one is not sent, and all this is about that one',
    ),
})

const deliveriesCancelled = z
  .number()
  .int()
  .nullable()
  .describe('How many were waiting. Null: too many to be counted at once; nothing of them will be sent either.')

const eventBody = z.union([universalForm, domainForm, cloudEventForm])

const answerOf = (server: string, { event_id, jobs_count, deduplicated }: Accepted) => ({
  status: 'accepted' as const,
  event_id,
  jobs_count,
  status_url: `${server}/api/v1/events/${encodeURIComponent(event_id)}`,
  ...(deduplicated && { deduplicated }),
})

/** `/api/v1/events`: accepting, asking what became of an event, and cancelling. */
export const eventRoutes =
  (ports: AcceptPorts, { publicUrl, maxWaitingAccepts }: EventOptions): FastifyPluginAsyncZod =>
  async (app) => {
    let waiting = 0
    async function withinLimit<Result>(weight: number, work: () => Promise<Result>): Promise<Result> {
      // A batch may be larger than all that may wait: alone it is taken, as it would come again for ever.
      if (waiting > 0 && waiting + weight > maxWaitingAccepts) {
        throw new AppError('unavailable', 'Too many events are waiting to be stored; send this again', {
          retryAfterSeconds: 1,
        })
      }
      waiting += weight
      try {
        return await work()
      } finally {
        waiting -= weight
      }
    }

    const accepting = { access: { scope: 'events:write' }, refusals: ['conflict', 'mismatch'] } as const

    app.post('/api/v1/events', {
      config: accepting,
      schema: {
        consumes: ['application/json', 'application/cloudevents+json'],
        summary: 'Accept an event',
        description:
          'Answers once the event and everything planned for it are stored. The same `Idempotency-Key`, or the same id ' +
          'of the event, with the same body gives the first answer again. 200: an event with the same dedupe key was accepted ' +
          'before, and this one is not sent.',
        tags: ['Events'],
        headers: z.looseObject({ 'idempotency-key': z.string().optional() }),
        body: eventBody,
        response: { 200: acceptedSchema, 202: acceptedSchema },
      },
      // The forms are told apart by their fields, so that faults are named for the form that was meant.
      validatorCompiler: () => (value: unknown) => ({ value }),
      handler: async (request, reply) => {
        const { companyId } = serviceCaller(request)
        const incoming = attributed(request, readEvent(request.body))
        const key = idempotencyKeyOf(request)
        const result = await withinLimit(1, () => accept(ports, companyId, incoming, key))
        markReplay(reply, result.isReplay)
        return reply.code(result.deduplicated ? 200 : 202).send(answerOf(publicUrl(), result))
      },
    })

    app.post('/api/v1/events/batch', {
      config: accepting,
      bodyLimit: BATCH_BODY_LIMIT_BYTES,
      schema: {
        summary: 'Accept up to 1,000 events together',
        description: 'All are stored, or none: a fault in one refuses the batch and names it, e.g. `events[3].title`.',
        tags: ['Events'],
        headers: z.looseObject({ 'idempotency-key': z.string().optional() }),
        body: z.strictObject({ events: z.array(eventBody).min(1).max(MAX_BATCH) }),
        response: { 202: z.object({ status: z.literal('accepted'), events: z.array(acceptedSchema) }) },
      },
      validatorCompiler: () => (value: unknown) => ({ value }),
      handler: async (request, reply) => {
        const { companyId } = serviceCaller(request)
        const items = readBatch(request.body).map((incoming) => attributed(request, incoming))
        const key = idempotencyKeyOf(request)
        const result = await withinLimit(items.length, () => acceptBatch(ports, companyId, items, key))
        markReplay(reply, result.isReplay)
        return reply
          .code(202)
          .send({ status: 'accepted', events: result.events.map((event) => answerOf(publicUrl(), event)) })
      },
    })

    app.get('/api/v1/events/:event_id', {
      config: { access: { scope: 'events:read' } },
      schema: {
        summary: 'What became of an event',
        description: 'Its notifications and deliveries with their attempts and, for each person not told, why.',
        tags: ['Events'],
        params: z.strictObject({ event_id: z.string().max(1300) }),
        response: { 200: eventStatusSchema },
      },
      handler: async (request) => {
        const event = await eventById(ports.db, serviceCaller(request).companyId, request.params.event_id)
        const [deliveries, notifications, traces] = await Promise.all([
          deliveriesOf(ports.db, event.row_id),
          notificationsOf(ports.db, event.row_id),
          tracesOf(ports.db, event.row_id),
        ])
        const skipped = deliveries
          .filter(
            ({ status }) =>
              status === 'SKIPPED' || status === 'EXPIRED' || status === 'FAILED' || status === 'CANCELLED',
          )
          .map(({ user_id, channel, reason, status }) => ({ user_id, channel, reason: reason ?? status.toLowerCase() }))
        return {
          event_id: event.event_id,
          type: event.type,
          type_version: event.type_version,
          status: event.cancelled_at === null ? ('accepted' as const) : ('cancelled' as const),
          created_at: event.created_at,
          cancelled_at: event.cancelled_at,
          jobs_count: event.jobs_count,
          channels_from: 'channels' in event.payload ? ('event' as const) : ('event_type' as const),
          event: event.payload,
          notifications,
          deliveries,
          not_told: [...traces, ...skipped],
        }
      },
    })

    app.delete('/api/v1/events/:event_id', {
      config: { access: { scope: 'events:write' } },
      schema: {
        summary: 'Cancel what is not yet sent of an event',
        description: 'Takes as long for a million deliveries as for one.',
        tags: ['Events'],
        params: z.strictObject({ event_id: z.string().max(1300) }),
        response: { 200: z.object({ status: z.literal('cancelled'), deliveries_cancelled: deliveriesCancelled }) },
      },
      handler: async (request) => {
        const count = await cancelEvent(ports, serviceCaller(request).companyId, request.params.event_id)
        return { status: 'cancelled' as const, deliveries_cancelled: count }
      },
    })

    app.post('/api/v1/events/cancel', {
      config: { access: { scope: 'events:write' } },
      schema: {
        summary: 'Cancel by key',
        description:
          'Cancels what is not yet sent of every event that was accepted with this `cancellation_key` until now. ' +
          'Takes as long for a million events as for one.',
        tags: ['Events'],
        body: z.strictObject({ cancellation_key: z.string().min(1).max(200) }),
        response: {
          200: z.object({
            status: z.literal('cancelled'),
            events: z.number().int().nullable().describe('Null: too many to be counted at once'),
            deliveries_cancelled: deliveriesCancelled,
          }),
        },
      },
      handler: async (request) => {
        const { events, deliveries } = await cancelByKey(
          ports,
          serviceCaller(request).companyId,
          request.body.cancellation_key,
        )
        return { status: 'cancelled' as const, events, deliveries_cancelled: deliveries }
      },
    })
  }

function readBatch(body: unknown): Incoming[] {
  const list = body !== null && typeof body === 'object' && 'events' in body ? body.events : undefined
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_BATCH) {
    throw invalidField('events', `expected a list of 1 to ${MAX_BATCH} events`)
  }
  const unknown = Object.keys(body as object).find((name) => name !== 'events')
  if (unknown !== undefined) throw invalidField(unknown, 'is not a known property')

  return list.map((item: unknown, index) => {
    try {
      return readEvent(item)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      const item = `events[${index}]`
      const fields = error.fields.map(({ field, message }) => ({ field: field ? `${item}.${field}` : item, message }))
      throw invalidFields(fields)
    }
  })
}

/** Who caused the event: what trusted headers say, else what the body says. */
function attributed(request: FastifyRequest, incoming: Incoming): Incoming {
  const initiator = initiatedBy(request)
  return initiator ? { ...incoming, event: { ...incoming.event, initiated_by: initiator } } : incoming
}

function markReplay(reply: FastifyReply, isReplay: boolean): void {
  if (isReplay) reply.header('idempotency-replayed', 'true')
}
