import { randomUUID } from 'node:crypto'
import { fastify, LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { AppError } from '../core/errors.ts'
import type { Ports } from '../ports.ts'
import { accessControl, type Authenticate } from './access.ts'
import { CONNECTION_LIMITS, KEEP_ALIVE_MS, MAX_HEADERS, refuseConnection } from './connection-limits.ts'
import { cors } from './cors.ts'
import { apiDocs } from './docs.ts'
import { jsonBodies } from './json-body.ts'
import { DEFAULT_LIMITS, failureLimit, type HttpLimits, inFlightLimit, rateLimit } from './limits.ts'
import { sendNotFound, sendProblem } from './problem.ts'
import { securityHeaders } from './security-headers.ts'
import { zodValidation } from './validation.ts'

export type HttpOptions = {
  authenticate: Authenticate
  /** Origins whose pages may call the routes of end users. */
  allowedOrigins?: readonly string[]
  /** Proxies whose X-Forwarded-* headers count, by address or number of hops; none unless configured. */
  trustProxy?: string[] | number
  limits?: Partial<HttpLimits>
  connection?: Partial<typeof CONNECTION_LIMITS>
}

/**
 * The HTTP server, with its documentation and without routes: `app.register(eventRoutes(ports))` adds them. It knows its
 * callers, checks what they send, bounds what they may use, and answers every error as a problem (RFC 9457).
 */
export function httpServer(
  { log, metrics }: Pick<Ports, 'log' | 'metrics'>,
  { authenticate, allowedOrigins = [], trustProxy = [], limits = {}, connection = {} }: HttpOptions,
): FastifyInstance {
  const connectionLimits = { ...CONNECTION_LIMITS, ...connection }
  const allLimits = { ...DEFAULT_LIMITS, ...limits }
  const loggerInstance: FastifyBaseLogger = log
  const app = fastify({
    loggerInstance,
    trustProxy: typeof trustProxy === 'number' ? (_address, hop) => hop < trustProxy : trustProxy,
    genReqId: () => randomUUID(),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    bodyLimit: BODY_LIMIT_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    http: connectionLimits,
    requestTimeout: connectionLimits.requestTimeout,
    keepAliveTimeout: KEEP_ALIVE_MS,
    clientErrorHandler: refuseConnection,
    frameworkErrors: sendProblem,
  })
  app.server.maxHeadersCount = MAX_HEADERS

  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler(sendNotFound)
  jsonBodies(app)
  // None of the hooks is async where it has nothing to wait for: each promise would cost every request a turn.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    if (/%00/.test(request.url)) throw new AppError('invalid', 'The address must not hold the character U+0000')
    done()
  })
  app.addHook('onResponse', ({ method, routeOptions, id }, { statusCode, elapsedTime }, done) => {
    // The route, never the address: ids and tokens stand there.
    const route = routeOptions.url ?? 'none'
    metrics.httpSeconds.observe({ method, route, status: statusCode }, elapsedTime / 1000)
    log.debug({ requestId: id, method, route, status: statusCode, ms: Math.round(elapsedTime) }, 'request answered')
    done()
  })
  inFlightLimit(app, allLimits)
  securityHeaders(app)
  cors(app, allowedOrigins)
  apiDocs(app)
  accessControl(app, authenticate, failureLimit(allLimits))
  rateLimit(app, allLimits)
  zodValidation(app)
  return app
}

/** A route that takes batches raises it for itself: `bodyLimit`. */
const BODY_LIMIT_BYTES = 256 * 1024

/** Ids of events may have 1,300 characters. */
const MAX_PARAM_LENGTH = 1300
