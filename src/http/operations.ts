import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'

/** Whether the process lives: `/health`. */
export const operationsRoutes = (): FastifyPluginAsyncZod => async (app) => {
  app.get('/health', {
    config: { access: 'public' },
    schema: {
      summary: 'Whether the process lives',
      tags: ['Operations'],
      response: { 200: z.object({ status: z.literal('ok') }) },
    },
    handler: () => ({ status: 'ok' as const }),
  })
}
