import type { FastifyInstance } from 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Directives of the content security policy that this page needs otherwise. */
    csp?: Readonly<Record<string, string>>
  }
}

/** What a page of ours may do, unless its route says otherwise: nothing foreign, nothing inline, in no frame. */
const CSP: Readonly<Record<string, string>> = {
  'default-src': "'self'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'object-src': "'none'",
  'base-uri': "'none'",
  'form-action': "'self'",
  'frame-ancestors': "'none'",
}

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'geolocation=(), payment=(), usb=()',
}

const HALF_A_YEAR_SECONDS = 182 * 24 * 3600

/** The headers of every answer, errors included. What is not public is kept by no cache. */
export function securityHeaders(app: FastifyInstance): void {
  const policy = textOf(CSP)
  app.addHook('onRequest', (request, reply, done) => {
    const { csp, access } = request.routeOptions.config
    reply.headers(HEADERS)
    reply.header('content-security-policy', csp ? textOf({ ...CSP, ...csp }) : policy)
    if (access !== 'public') reply.header('cache-control', 'no-store')
    if (request.protocol === 'https') reply.header('strict-transport-security', `max-age=${HALF_A_YEAR_SECONDS}`)
    done()
  })
}

const textOf = (directives: Readonly<Record<string, string>>): string =>
  Object.entries(directives)
    .map(([name, value]) => `${name} ${value}`)
    .join('; ')
