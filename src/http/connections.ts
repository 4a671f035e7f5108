import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Gateway } from '../gateway/gateway.ts'
import { serviceCaller } from './access.ts'

/** `/api/v1/connections`: who is connected to the gateway of this process. Others answer for themselves. */
export const connectionRoutes =
  (gateway: Pick<Gateway, 'activeUsers' | 'connections' | 'connectionCount'>): FastifyPluginAsyncZod =>
  async (app) => {
    app.get('/api/v1/connections', {
      config: { access: { scope: 'connections:read' } },
      schema: {
        tags: ['Operations'],
        summary: 'How many users are connected, with how many sessions',
        description: 'Counts of the process that answers. With `user_id`, the sessions of this user alone.',
        querystring: z.strictObject({ user_id: z.string().min(1).max(200).optional() }),
        response: { 200: z.object({ users: z.int(), connections: z.int() }) },
      },
      handler: async (request) => {
        const { companyId, isPlatform } = serviceCaller(request)
        const { user_id: userId } = request.query
        if (userId !== undefined) {
          const connections = gateway.connectionCount(companyId, userId)
          return { users: connections > 0 ? 1 : 0, connections }
        }
        // A key of no company that names none asks for all.
        const only = isPlatform && companyId === '' ? undefined : companyId
        return { users: gateway.activeUsers(only), connections: gateway.connections(only) }
      },
    })
  }
