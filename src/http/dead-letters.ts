import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { uuidOf } from '../core/id.ts'
import type { JsonObject } from '../core/json.ts'
import { partlyHidden } from '../core/partly-hidden.ts'
import { discardFailed, letterOf, retryLetter, settleUncertain, type Decider } from '../pipeline/dead-letter.ts'
import { inspectLetter } from '../pipeline/inspect-letter.ts'
import type { Ports } from '../ports.ts'
import { groupDeadLetters, listDeadLetters } from '../store/dead-letters.ts'
import { serviceCaller } from './access.ts'
import {
  deadLetterSchema,
  filterOf,
  groupSchema,
  inspectedSchema,
  letterFilter,
  shownLetter,
  template,
} from './dead-letter-schemas.ts'
import { cursorParts, cursorText, isCursorTime, isRowId, pageOf, pageQuery } from './page.ts'

type LetterPorts = Pick<Ports, 'db' | 'queue' | 'directory' | 'channels' | 'eventTypes' | 'renderer' | 'log'>

/** Groups are few: reasons are grouped by what they have in common. */
const MAX_GROUPS = 1000

/** `/api/v1/dead-letters`: deliveries that wait for a person. */
export const deadLetterRoutes =
  (ports: LetterPorts, options: { defaultLocale: string; publicUrl: () => string }): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Dead letters']
    const read = { access: { scope: 'dead-letters:read' } } as const
    const write = { access: { scope: 'dead-letters:write' }, refusals: ['conflict'] } as const
    const params = z.strictObject({ job_id: z.string().max(100) })

    app.get('/api/v1/dead-letters', {
      config: read,
      schema: {
        tags,
        summary: 'Deliveries that wait for a person, newest first',
        querystring: z.strictObject({ ...letterFilter, ...pageQuery }),
        response: { 200: pageOf(deadLetterSchema) },
      },
      handler: async (request) => {
        const { limit, after } = request.query
        const [at = '', id = ''] = after === undefined ? [] : cursorParts(after, [isCursorTime, isRowId])
        const found = await listDeadLetters(ports.db, serviceCaller(request).companyId, filterOf(request.query), {
          after: after === undefined ? null : { at, id },
          limit: limit + 1,
        })
        const items = found.slice(0, limit)
        const last = found.length > limit ? items.at(-1) : undefined
        return { items: items.map(shownLetter), next: last ? cursorText([last.at, last.id]) : null }
      },
    })

    app.get('/api/v1/dead-letters/groups', {
      config: read,
      schema: {
        tags,
        summary: 'What they died of, the most frequent first',
        description: 'Reasons are the same but for ids, times, addresses and long numbers. At most 1,000 groups.',
        querystring: z.strictObject(letterFilter),
        response: { 200: z.object({ items: z.array(groupSchema) }) },
      },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        return { items: await groupDeadLetters(ports.db, companyId, filterOf(request.query), MAX_GROUPS) }
      },
    })

    app.get('/api/v1/dead-letters/:job_id', {
      config: read,
      schema: {
        tags,
        summary: 'One dead letter: what went into it, and what would differ if it were made now',
        params,
        response: { 200: inspectedSchema },
      },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        const letter = await letterOf(ports, companyId, request.params.job_id)
        return {
          ...shownLetter(letter),
          ...(await inspectLetter(ports, options, companyId, letter)),
          notification_id: uuidOf(letter.notification_id),
          inputs: {
            event: partlyHidden(letter.event as unknown as JsonObject),
            event_type_version: letter.event_type_version,
            vars: partlyHidden(letter.vars),
          },
          attempts: partlyHidden(letter.attempts),
          event_type_version_now: letter.current_event_type_version,
        }
      },
    })

    app.delete('/api/v1/dead-letters/:job_id', {
      config: write,
      schema: {
        tags,
        summary: 'Take a failed delivery off the list: it stays failed',
        params,
        response: { 204: z.null() },
      },
      handler: async (request, reply) => {
        await discardFailed(ports, deciderOf(request), request.params.job_id)
        return reply.code(204).send(null)
      },
    })

    app.post('/api/v1/dead-letters/:job_id/retry', {
      config: write,
      schema: {
        tags,
        summary: 'Send a failed delivery again',
        description: 'As it was made; `data` is merged over the data of the event, for this delivery alone.',
        params,
        body: z.strictObject({ data: z.record(z.string(), z.json()).exactOptional(), template }),
        response: { 202: requeuedSchema },
      },
      handler: async (request, reply) => {
        const { job_id: jobId } = request.params
        await retryLetter(ports, deciderOf(request), jobId, request.body)
        return reply.code(202).send({ job_id: jobId, status: 'RETRYING' as const })
      },
    })

    app.post('/api/v1/dead-letters/:job_id/settle', {
      config: write,
      schema: {
        tags,
        summary: 'End the doubt about an uncertain delivery',
        description: 'It arrived (`sent`), it did not and is let be (`failed`), or it is sent once more (`resend`).',
        params,
        body: z.strictObject({ as: z.enum(['sent', 'failed', 'resend']) }),
        response: { 200: requeuedSchema },
      },
      handler: async (request) => {
        const { job_id: jobId } = request.params
        await settleUncertain(ports, deciderOf(request), jobId, request.body.as)
        return { job_id: jobId, status: SETTLED[request.body.as] }
      },
    })
  }

const SETTLED = { sent: 'SENT', failed: 'FAILED', resend: 'RETRYING' } as const

const requeuedSchema = z.object({ job_id: z.string(), status: z.enum(['RETRYING', 'SENT', 'FAILED']) })

const deciderOf = (request: FastifyRequest): Decider => {
  const { companyId, keyId } = serviceCaller(request)
  return { companyId, keyId }
}
