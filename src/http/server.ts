import { randomUUID } from 'node:crypto'
import { fastify, LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Ports } from '../ports.ts'
import { accessControl, type Authenticate } from './access.ts'
import { sendNotFound, sendProblem } from './problem.ts'
import { zodValidation } from './validation.ts'

export type HttpOptions = {
  authenticate: Authenticate
  /** Proxies whose X-Forwarded-* headers count, by address or number of hops; none unless configured. */
  trustProxy?: string[] | number
}

/**
 * The HTTP server, without routes: `app.register(eventRoutes(ports))` adds them. It knows its callers, checks what they
 * send, and answers every error as a problem (RFC 9457).
 */
export function httpServer(
  { log }: Pick<Ports, 'log'>,
  { authenticate, trustProxy = [] }: HttpOptions,
): FastifyInstance {
  const loggerInstance: FastifyBaseLogger = log
  const app = fastify({
    loggerInstance,
    trustProxy: typeof trustProxy === 'number' ? (_address, hop) => hop < trustProxy : trustProxy,
    genReqId: () => randomUUID(),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    bodyLimit: BODY_LIMIT_BYTES,
  })

  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler(sendNotFound)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  accessControl(app, authenticate)
  zodValidation(app)
  return app
}

/** A route that takes batches raises it for itself: `bodyLimit`. */
const BODY_LIMIT_BYTES = 256 * 1024
