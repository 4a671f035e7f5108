import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { docsScript } from './docs-script.ts'
import { openApiDocument, openApiRoute } from './openapi.ts'

/** `/openapi.json`, made from the routes as they run, and a page to read and try it: `/docs`. */
export function apiDocs(app: FastifyInstance): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'EventCenter', version: '1', description: DESCRIPTION },
      tags: TAGS,
      components: { securitySchemes: SECURITY_SCHEMES },
    },
    transform: openApiRoute,
    transformObject: openApiDocument,
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

/** In the order in which people need them. */
const TAGS = [
  'Events',
  'Personal account',
  'Users',
  'Event types',
  'Templates',
  'Dead letters',
  'Keys',
  'Outbox',
  'Operations',
].map((name) => ({ name }))

const SECURITY_SCHEMES = {
  apiKey: { type: 'http', scheme: 'bearer', description: 'Services: an API key, `sk_…`, with scopes.' },
  userToken: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'End users: a token whose `sub` they are.',
  },
} as const

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>EventCenter API</title>
<link rel="icon" href="data:,">
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
  mcp: { disabled: true },
  hideClientButton: true,
})
`

/** Scalar writes its styles into the page. */
const PAGE_CSP = { 'style-src': "'self' 'unsafe-inline'", 'font-src': "'self' data:", 'worker-src': "'self' blob:" }
