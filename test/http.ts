import type { FastifyInstance } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { pino, type Logger } from 'pino'
import { SCOPES } from '../src/core/scope.ts'
import type { Authenticate } from '../src/http/access.ts'
import { httpServer, type HttpOptions } from '../src/http/server.ts'
import { metrics } from '../src/metrics.ts'

/**
 * Credentials for servers under test: `sk_COMPANY` is a key of the company with every scope (`sk_` of the platform),
 * `COMPANY.USER` the token of a user.
 */
export const plainCredentials: Authenticate = {
  service: async (key) =>
    /^sk_\w*$/.test(key) ? { keyId: key, companyId: key.slice('sk_'.length), scopes: SCOPES } : null,
  user: async (token) => {
    const [, companyId, userId] = /^(\w*)\.(\w+)$/.exec(token) ?? []
    return companyId !== undefined && userId !== undefined ? { companyId, userId, roles: [] } : null
  },
}

/** The HTTP server with some routes. */
export function serverWith(
  routes: FastifyPluginAsyncZod | FastifyPluginAsyncZod[],
  { log = pino({ level: 'silent' }), ...options }: Partial<HttpOptions> & { log?: Logger } = {},
): FastifyInstance {
  const app = httpServer({ log, metrics: metrics() }, { authenticate: plainCredentials, ...options })
  for (const route of [routes].flat()) void app.register(route)
  return app
}

/** The headers of a caller. */
export const as = (token: string, more: Record<string, string> = {}): { headers: Record<string, string> } => ({
  headers: { authorization: `Bearer ${token}`, ...more },
})
