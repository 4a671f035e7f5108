import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { newApiKey } from '../core/api-key.ts'
import { AppError } from '../core/errors.ts'
import { isLoopback } from '../core/setting-parsers.ts'
import type { FixedKey } from './authenticate.ts'
import type { UserTokens } from './user-token.ts'

/** What the demo page works with: a key of this process, kept nowhere, and the right to sign tokens of one user. */
export type Demo = { key: FixedKey; sign: NonNullable<UserTokens['sign']> }

/** A service key for the demo page, different in every process. */
export const demoKey = (): FixedKey => ({
  key: newApiKey().key,
  keyId: 'demo',
  scopes: ['events:write', 'events:read', 'users:write', 'users:read', 'outbox:read'],
})

const DEMO_USER = 'demo'
const TOKEN_SECONDS = 3600

/**
 * `POST /demo/session`: tokens for whoever opens the demo page. It is only there while the server listens on this machine
 * alone, and only answers pages that this server served under a name of its own: a foreign page that makes its name point
 * here (DNS rebinding) has another Host, and one that calls from elsewhere has another Origin.
 */
export const demoRoutes =
  ({ key, sign }: Demo, publicUrl: () => string): FastifyPluginAsyncZod =>
  async (app) => {
    app.post('/demo/session', {
      config: { access: 'public' },
      schema: {
        hide: true,
        response: {
          200: z.object({
            user_id: z.string(),
            user_token: z.string(),
            service_token: z.string(),
            expires_in: z.int(),
          }),
        },
      },
      handler: async (request, reply) => {
        const { host, origin } = request.headers
        const isOwnHost = host !== undefined && (isLoopbackHost(host) || host === new URL(publicUrl()).host)
        if (!isOwnHost || (origin !== `http://${host}` && origin !== `https://${host}`)) {
          throw new AppError('forbidden', 'The demo page works only where this server serves it')
        }
        void reply.header('cache-control', 'no-store')
        return {
          user_id: DEMO_USER,
          user_token: await sign({ userId: DEMO_USER, seconds: TOKEN_SECONDS }),
          service_token: key.key,
          expires_in: TOKEN_SECONDS,
        }
      },
    })
  }

const isLoopbackHost = (host: string): boolean => isLoopback(host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'))
