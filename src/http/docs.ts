import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { docsScript } from './docs-script.ts'
import { problemSchema } from './problem.ts'
import type { Access } from './access.ts'

/** `/openapi.json`, made from the routes as they run, and a page to read and try it: `/docs`. */
export function apiDocs(app: FastifyInstance): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'EventCenter', version: '1', description: DESCRIPTION },
      components: { securitySchemes: SECURITY_SCHEMES },
    },
    transform: (document) => {
      const { schema, url } = jsonSchemaTransform(document)
      return { schema: withAccess(schema, document.route), url }
    },
    transformObject: jsonSchemaTransformObject,
  })

  void app.register(async (app) => {
    const config = { access: 'public' } as const
    const schema = { hide: true }
    app.get('/openapi.json', { config, schema }, () => app.swagger())
    app.get('/docs', { config: { ...config, csp: PAGE_CSP }, schema }, (_request, reply) =>
      reply.type('text/html; charset=utf-8').send(PAGE),
    )
    app.get('/docs/start.js', { config, schema }, (_request, reply) =>
      reply.type('text/javascript; charset=utf-8').send(START),
    )
    app.get('/docs/scalar.js', { config, schema }, async (_request, reply) =>
      reply
        .type('text/javascript; charset=utf-8')
        .header('content-encoding', 'gzip')
        .header('cache-control', 'public, max-age=86400')
        .send(await docsScript()),
    )
  })
}

const DESCRIPTION = `A service says what happened; EventCenter decides who must know, delivers it without loss, and can
prove what became of every message. Errors are problem details (RFC 9457). Lists answer \`{"items": […], "next": …}\`
and take \`?limit=&after=\`.`

const SECURITY_SCHEMES = {
  apiKey: { type: 'http', scheme: 'bearer', description: 'Services: an API key, `sk_…`, with scopes.' },
  userToken: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'End users: a token whose `sub` they are.',
  },
} as const

type Answers = Record<string, unknown>

/** Adds who may call a route, and how it answers errors. */
function withAccess(schema: FastifySchema, route: RouteOptions): FastifySchema {
  if (schema.hide) return schema
  const access = route.config?.access
  const isOpen = access === 'public'
  return {
    ...schema,
    security: securityOf(access),
    response: {
      ...(schema.response as Answers),
      400: problem('The request is wrong: `errors` names each field at fault.'),
      ...(!isOpen && { 401: problem('Credentials are missing or not valid.') }),
      ...(!isOpen && { 403: problem('The caller may not do this.') }),
      ...(route.url.includes(':') && { 404: problem('There is none, or it is of somebody else.') }),
      429: problem('Too many requests: wait as long as `Retry-After` says.'),
      503: problem('Something this needs is away: try again after `Retry-After`.'),
    },
  }
}

function securityOf(access: Access | undefined): Record<string, string[]>[] {
  if (access === 'user') return [{ userToken: [] }]
  return typeof access === 'object' ? [{ apiKey: [access.scope] }] : []
}

/** Named by reference: `jsonSchemaTransformObject` puts every schema that has an id into the components. */
const problem = (description: string): object => ({
  description,
  content: { 'application/problem+json': { schema: { $ref: `#/components/schemas/${problemSchema.meta()?.id}` } } },
})

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>EventCenter API</title>
</head>
<body>
<div id="app"></div>
<script src="/docs/scalar.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`

const START = `Scalar.createApiReference('#app', {
  url: '/openapi.json',
  withDefaultFonts: false,
  telemetry: false,
  showDeveloperTools: 'never',
  agent: { disabled: true },
  hideClientButton: true,
})
`

/** Scalar writes its styles into the page. */
const PAGE_CSP = { 'style-src': "'self' 'unsafe-inline'", 'font-src': "'self' data:", 'worker-src': "'self' blob:" }
