import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/**
 * Lets pages of the allowed origins call the routes of end users, and no others: services are no browsers. Tokens come in
 * a header, so credentials of the browser are never allowed. https://fetch.spec.whatwg.org/#http-cors-protocol
 */
export function cors(app: FastifyInstance, allowedOrigins: readonly string[]): void {
  const allowed = new Set(allowedOrigins)
  const methods = new Map<string, Set<string>>()

  app.addHook('onRoute', (route) => {
    if (route.config?.access !== 'user' || allowed.size === 0) return
    const known = methods.get(route.url)
    const names = known ?? new Set<string>()
    for (const method of [route.method].flat()) names.add(method)
    methods.set(route.url, names)
    if (known) return
    app.options(route.url, { config: { access: 'public' }, schema: { hide: true } }, (request, reply) => {
      if (!isAllowed(request)) return reply.callNotFound()
      return reply
        .code(204)
        .header('access-control-allow-methods', [...names].join(', '))
        .header('access-control-allow-headers', 'authorization, content-type')
        .header('access-control-max-age', '600')
        .send()
    })
  })

  // Before the callers are known: a page must be able to read that its token has expired.
  app.addHook('onRequest', (request, reply, done) => {
    if (methods.has(request.routeOptions.url ?? '')) answerOrigin(request, reply)
    done()
  })

  function answerOrigin(request: FastifyRequest, reply: FastifyReply): void {
    reply.header('vary', 'origin')
    if (!isAllowed(request)) return
    reply.header('access-control-allow-origin', request.headers.origin)
    reply.header('access-control-expose-headers', 'x-request-id, retry-after')
  }

  function isAllowed({ headers }: FastifyRequest): boolean {
    return headers.origin !== undefined && allowed.has(headers.origin)
  }
}
