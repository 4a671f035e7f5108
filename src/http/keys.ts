import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { apiKeyHash, newApiKey } from '../core/api-key.ts'
import { AppError, invalidField } from '../core/errors.ts'
import { SCOPES } from '../core/scope.ts'
import type { Ports } from '../ports.ts'
import { insertApiKey, listApiKeys, revokeApiKey } from '../store/api-key.ts'
import { type ServiceCaller, serviceCaller } from './access.ts'
import { cursorParts, cursorText, pageOf, pageQuery } from './page.ts'
import { time } from './time.ts'

/** `/api/v1/keys`: a key makes others of its own company, with no more rights than it has. */
export const keyRoutes =
  ({ db }: Pick<Ports, 'db'>): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Keys']
    const config = { access: { scope: 'keys:write' } } as const

    app.post('/api/v1/keys', {
      config,
      schema: {
        tags,
        summary: 'Make a key, which is shown this once',
        body: z.strictObject({
          name: z.string().min(1).max(100),
          scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length),
          expires_at: time.optional(),
        }),
        response: { 201: z.object({ key: z.string(), ...listed }) },
      },
      handler: async (request, reply) => {
        const caller = serviceCaller(request)
        const { name, expires_at } = request.body
        const scopes = [...new Set(request.body.scopes)]
        const missing = scopes.filter((scope) => !caller.scopes.includes(scope))
        if (missing.length > 0)
          throw new AppError('forbidden', `The API key cannot give what it has not: ${missing.join(', ')}`)
        if (expires_at !== undefined && Date.parse(expires_at) <= Date.now()) {
          throw invalidField('expires_at', 'expected a time in the future')
        }

        const { id, key } = newApiKey()
        const expiresAt = expires_at === undefined ? undefined : new Date(expires_at)
        await insertApiKey(db, {
          id,
          hash: apiKeyHash(key),
          name,
          scopes,
          companyId: caller.companyId,
          ...(expiresAt && { expiresAt }),
        })
        return reply.code(201).send({
          key,
          id,
          company_id: caller.companyId || null,
          name,
          scopes,
          created_at: new Date().toISOString(),
          expires_at: expiresAt?.toISOString() ?? null,
          revoked_at: null,
          last_used_at: null,
        })
      },
    })

    app.get('/api/v1/keys', {
      config,
      schema: {
        tags,
        summary: 'The keys of the company, or all of them for a key of the platform',
        querystring: z.strictObject(pageQuery),
        response: { 200: pageOf(keySchema) },
      },
      handler: async (request) => {
        const { limit, after } = request.query
        const offset = after === undefined ? 0 : Number(cursorParts(after, [(part) => /^\d{1,9}$/.test(part)])[0])
        const keys = await listApiKeys(db, { ...companyOf(serviceCaller(request)), limit: limit + 1, offset })
        return {
          items: keys.slice(0, limit).map((key) => ({ ...key, company_id: key.company_id || null })),
          next: keys.length > limit ? cursorText([String(offset + limit)]) : null,
        }
      },
    })

    app.delete('/api/v1/keys/:id', {
      config,
      schema: {
        tags,
        summary: 'End a key for good',
        params: z.strictObject({ id: z.string().max(100) }),
        response: { 204: z.undefined() },
      },
      handler: async (request, reply) => {
        const caller = serviceCaller(request)
        const isRevoked = await revokeApiKey(db, request.params.id, companyOf(caller).companyId)
        if (!isRevoked) throw new AppError('not-found', 'There is no valid key with this id')
        return reply.code(204).send()
      },
    })
  }

/** A key of the platform that names no company sees all keys. */
const companyOf = ({ isPlatform, companyId }: ServiceCaller): { companyId?: string } =>
  isPlatform && companyId === '' ? {} : { companyId }

const listed = {
  id: z.string(),
  company_id: z.string().nullable(),
  name: z.string(),
  scopes: z.array(z.string()),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  last_used_at: z.string().nullable(),
}
const keySchema = z.object(listed).meta({ id: 'ApiKey' })
