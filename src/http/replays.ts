import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError, invalidField } from '../core/errors.ts'
import { idOfUuid, uuidOf } from '../core/id.ts'
import { startReplay } from '../pipeline/replay.ts'
import type { Ports } from '../ports.ts'
import { countDeadLetters, groupDeadLetters } from '../store/dead-letters.ts'
import { findReplay, stopReplay, type Replay } from '../store/replay.ts'
import { serviceCaller } from './access.ts'
import { groupSchema, letterFilter, template } from './dead-letter-schemas.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'

const MAX_GROUPS = 100
/** Fast enough for what people wait for, slow enough for what else waits in the lane of retries. */
const DEFAULT_RATE_PER_SECOND = 100

/** Sending many dead letters again: `/api/v1/dead-letters/replay` and `/api/v1/replays`. */
export const replayRoutes =
  (ports: Pick<Ports, 'db' | 'nextId' | 'log'>): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Dead letters']
    const params = z.strictObject({ id: z.string().max(100) })

    app.post('/api/v1/dead-letters/replay', {
      config: { access: { scope: 'dead-letters:write' }, refusals: ['conflict', 'mismatch'] },
      schema: {
        tags,
        summary: 'Send all dead letters again that fit a filter',
        description:
          'With `dry_run` it only counts. Without, it needs an `Idempotency-Key`, and answers once the replay is stored; ' +
          'the same key, or the same filter while its replay is running, gives the replay that there is. ' +
          'Only `failed` ones unless `filter.kind` says otherwise.',
        headers: z.looseObject({ 'idempotency-key': z.string().optional() }),
        body: z.strictObject({
          filter: z.strictObject(letterFilter),
          dry_run: z.boolean(),
          template,
          expected_count: z
            .int()
            .min(0)
            .max(2 ** 31 - 1)
            .exactOptional()
            .describe('What the dry run counted: refused when there are more or fewer by now.'),
          rate_per_second: z.int().min(1).max(10_000).default(DEFAULT_RATE_PER_SECOND),
        }),
        response: { 200: countSchema, 202: replaySchema },
      },
      handler: async (request, reply) => {
        const { companyId, keyId } = serviceCaller(request)
        const { body } = request
        const filter = { ...body.filter, kind: body.filter.kind ?? ('failed' as const) }
        if (body.dry_run) {
          const [count, groups] = await Promise.all([
            countDeadLetters(ports.db, companyId, filter),
            groupDeadLetters(ports.db, companyId, filter, MAX_GROUPS),
          ])
          return { dry_run: true as const, ...count, groups }
        }

        const key = idempotencyKeyOf(request)
        if (key === undefined) throw invalidField('Idempotency-Key', 'is needed to start a replay')
        const { replay, isNew } = await startReplay(
          ports,
          { companyId, keyId },
          {
            filter,
            template: body.template,
            ratePerSecond: body.rate_per_second,
            expectedCount: body.expected_count,
          },
          key,
        )
        if (!isNew) reply.header('idempotency-replayed', 'true')
        else request.log.info({ replayId: replay.id, keyId, total: replay.total }, 'replay of dead letters started')
        return reply.code(202).send(shown(replay))
      },
    })

    app.get('/api/v1/replays/:id', {
      config: { access: { scope: 'dead-letters:read' } },
      schema: { tags, summary: 'How far a replay has come', params, response: { 200: replaySchema } },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        return shown(await found(ports, findReplay, companyId, request.params.id))
      },
    })

    app.post('/api/v1/replays/:id/stop', {
      config: { access: { scope: 'dead-letters:write' } },
      schema: {
        tags,
        summary: 'Stop a replay where it is',
        description: 'What it has put back into the queue is sent, a few seconds of its rate at most.',
        params,
        response: { 200: replaySchema },
      },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        return shown(await found(ports, stopReplay, companyId, request.params.id))
      },
    })
  }

async function found(
  { db }: Pick<Ports, 'db'>,
  get: typeof findReplay,
  companyId: string,
  publicId: string,
): Promise<Replay> {
  const id = idOfUuid(publicId)
  const replay = id === null ? null : await get(db, companyId, id)
  if (!replay) throw new AppError('not-found', 'There is no replay with this id')
  return replay
}

const countSchema = z.object({
  dry_run: z.literal(true),
  count: z.number().int().describe('Would be sent.'),
  expired: z.number().int().describe('Would stay: too late to be sent.'),
  cancelled: z.number().int().describe('Would stay: their event was cancelled.'),
  groups: z.array(groupSchema).describe('Of all of them, at most 100, the largest first.'),
})

const replaySchema = z
  .object({
    id: z.string(),
    status: z.enum(['running', 'done', 'stopped']),
    filter: z.object({ ...letterFilter }),
    template: z.enum(['same', 'current']),
    rate_per_second: z.number().int(),
    total: z.number().int().describe('Could be sent at the start.'),
    requeued: z.number().int().describe('Are back in the queue, or through it.'),
    expired: z.number().int().describe('Too late to be sent: still dead.'),
    cancelled: z.number().int().describe('Of cancelled events: still dead.'),
    started_by: z.string().describe('Id of the API key.'),
    created_at: z.string(),
    finished_at: z.string().nullable(),
  })
  .meta({ id: 'Replay' })

const shown = ({ id, company_id: _company, ...replay }: Replay): z.input<typeof replaySchema> => ({
  ...replay,
  id: uuidOf(id),
})
