import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Ports } from '../ports.ts'
import { ready, type Readiness } from './ready.ts'

/** `/health`, `/ready` and `/metrics`, for the machines that watch this one. */
export const operationsRoutes =
  ({ metrics, log }: Pick<Ports, 'metrics' | 'log'>, readiness: readonly Readiness[]): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Operations']
    const check = ready({ log }, readiness)

    app.get('/health', {
      config: { access: 'public', isProbe: true },
      schema: {
        tags,
        summary: 'Whether the process lives',
        response: { 200: z.object({ status: z.literal('ok') }) },
      },
      handler: () => ({ status: 'ok' as const }),
    })

    app.get('/ready', {
      config: { access: 'public', isProbe: true },
      schema: {
        tags,
        summary: 'Whether the process can do its work now',
        description: 'Also 503 when it is shutting down, or when a part of it is stuck.',
        response: { 200: readySchema, 503: readySchema },
      },
      handler: async (_request, reply) => {
        const { isReady, checks } = await check()
        return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not-ready', checks })
      },
    })

    app.get('/metrics', {
      config: { access: { scope: 'metrics:read', orLoopback: true }, isProbe: true },
      schema: {
        tags,
        summary: 'Metrics in the text format of Prometheus',
        description: 'Open to this machine itself, closed to all others but keys with the scope.',
        response: { 200: { content: { 'text/plain': { schema: z.string() } } } },
      },
      handler: async (_request, reply) =>
        reply
          .type(metrics.registry.contentType)
          .serializer(String)
          .send(await metrics.registry.metrics()),
    })
  }

const readySchema = z.object({
  status: z.enum(['ready', 'not-ready']),
  checks: z.record(z.string(), z.enum(['ok', 'failed'])),
})
