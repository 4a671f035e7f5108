import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError, invalidField } from '../core/errors.ts'
import { eventTypeDefinition, typeName } from '../core/event-type-schema.ts'
import type { Ports } from '../ports.ts'
import {
  deleteEventType,
  findEventType,
  insertEventType,
  listEventTypes,
  type StoredEventType,
  updateEventType,
} from '../store/event-type.ts'
import { serviceCaller } from './access.ts'
import { cursorParts, cursorText, isRowId, pageOf, pageQuery } from './page.ts'

/** `/api/v1/event-types`: what can happen. A company has its own types beside, or instead of, those of the platform. */
export const eventTypeRoutes =
  ({ db, eventTypes }: Pick<Ports, 'db' | 'eventTypes'>): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Event types']
    const write = { access: { scope: 'event-types:write' }, refusals: ['conflict'] } as const
    const read = { access: { scope: 'event-types:read' } } as const
    const params = z.strictObject({ type: typeName })

    app.post('/api/v1/event-types', {
      config: write,
      schema: {
        tags,
        summary: 'Register an event type',
        body: eventTypeDefinition,
        response: { 201: eventTypeSchema },
      },
      handler: async (request, reply) => {
        const stored = await insertEventType(db, serviceCaller(request).companyId, request.body)
        eventTypes.changed()
        return reply.code(201).send(answerOf(stored))
      },
    })

    app.get('/api/v1/event-types', {
      config: read,
      schema: {
        tags,
        summary: 'The event types that may be used',
        querystring: z.strictObject(pageQuery),
        response: { 200: pageOf(eventTypeSchema) },
      },
      handler: async (request) => {
        const { limit, after } = request.query
        const last = after === undefined ? null : (cursorParts(after, [isRowId])[0] ?? null)
        const found = await listEventTypes(db, serviceCaller(request).companyId, { after: last, limit: limit + 1 })
        const items = found.slice(0, limit)
        return { items: items.map(answerOf), next: found.length > limit ? cursorText([items.at(-1)?.id ?? '0']) : null }
      },
    })

    app.get('/api/v1/event-types/:type', {
      config: read,
      schema: {
        tags,
        summary: 'One event type: the own one of the company, else that of the platform',
        params,
        response: { 200: eventTypeSchema },
      },
      handler: async (request) => {
        const found = await findEventType(db, serviceCaller(request).companyId, request.params.type)
        if (!found) throw unknown(request.params.type)
        return answerOf(found)
      },
    })

    app.put('/api/v1/event-types/:type', {
      config: write,
      schema: {
        tags,
        summary: 'Change an event type: makes its next version',
        description: 'With `version`, only while that is the current one. What was accepted before goes on as it was.',
        params,
        body: eventTypeDefinition.safeExtend({ version: z.int().min(1).exactOptional() }),
        response: { 200: eventTypeSchema },
      },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        const { version, ...definition } = request.body
        if (definition.type !== request.params.type) throw invalidField('type', 'must be the type in the address')

        const stored = await updateEventType(db, companyId, definition, version ?? null)
        if (!stored) throw await whyNot(db, companyId, definition.type)
        eventTypes.changed()
        return answerOf(stored)
      },
    })

    app.delete('/api/v1/event-types/:type', {
      config: write,
      schema: {
        tags,
        summary: 'Take an event type out of use',
        description:
          'What was accepted before goes on. A company then has the type of the platform again, if there is one.',
        params,
        response: { 204: z.undefined() },
      },
      handler: async (request, reply) => {
        const { companyId } = serviceCaller(request)
        if (!(await deleteEventType(db, companyId, request.params.type)))
          throw await whyNot(db, companyId, request.params.type)
        eventTypes.changed()
        return reply.code(204).send()
      },
    })
  }

const eventTypeSchema = z
  .object({
    ...eventTypeDefinition.shape,
    company_id: z.string().nullable().describe('null: of the platform.'),
    version: z.int(),
    updated_at: z.string(),
  })
  .meta({ id: 'EventType' })

function answerOf(stored: StoredEventType): z.output<typeof eventTypeSchema> {
  const { id: _id, company_id, created_at, ...rest } = stored
  return { ...rest, company_id: company_id || null, updated_at: created_at }
}

/** The company has no such type, or it has changed meanwhile. */
async function whyNot(db: Ports['db'], companyId: string, type: string): Promise<AppError> {
  const found = await findEventType(db, companyId, type)
  if (!found) return unknown(type)
  if (found.company_id === companyId) return new AppError('conflict', `"${type}" is at version ${found.version} by now`)
  return new AppError(
    'forbidden',
    `"${type}" belongs to the platform: register one of your own with POST /api/v1/event-types`,
  )
}

const unknown = (type: string): AppError => new AppError('not-found', `There is no event type "${type}"`)
