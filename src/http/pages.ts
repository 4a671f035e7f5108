import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { demoRoutes, type Demo } from './demo.ts'

type PageOptions = {
  /** Null: the start page tells what this server is, and nobody is let in. */
  demo: Demo | null
  publicUrl: () => string
}

const PAGES = fileURLToPath(new URL('../../admin/pages', import.meta.url))
const SCRIPTS = fileURLToPath(new URL('../../admin/dist', import.meta.url))
const SDK = fileURLToPath(new URL('../../sdk/dist', import.meta.url))

/** No `..`, nothing hidden, nothing encoded. */
const FILE = /^(?:[a-z0-9][\w-]*\/)*[a-z0-9][\w-]*(?:\.\w+)+$/i

/** The pages for people: the start page (a live demo inbox, or what this server is) and the mail outbox. */
export const pageRoutes =
  ({ demo, publicUrl }: PageOptions): FastifyPluginAsyncZod =>
  async (app) => {
    // Without routes of its own: each of ours says who may call it.
    await app.register(fastifyStatic, { root: PAGES, serve: false, cacheControl: false })
    const config = { access: 'public' } as const
    const schema = { hide: true }

    app.get('/', { config, schema }, async (_request, reply) => {
      reply.header('cache-control', 'no-cache')
      return reply.sendFile(demo ? 'demo.html' : 'about.html')
    })

    // The frame that shows a mail has the policy of its page, and mails bring styles of their own. Scripts run in neither.
    const csp = { 'style-src': "'self' 'unsafe-inline'" }
    app.get('/outbox', { config: { ...config, csp }, schema }, async (_request, reply) => {
      reply.header('cache-control', 'no-cache')
      return reply.sendFile('outbox.html')
    })

    for (const [prefix, root] of [
      ['/assets/', PAGES],
      ['/assets/js/', SCRIPTS],
      ['/sdk/', SDK],
    ] as const) {
      app.get(`${prefix}*`, {
        config,
        schema: { ...schema, params: z.strictObject({ '*': z.string().regex(FILE, 'expected the name of a file') }) },
        handler: async (request, reply) => {
          reply.header('cache-control', 'no-cache')
          return reply.sendFile(request.params['*'], root)
        },
      })
    }

    if (demo) await app.register(demoRoutes(demo, publicUrl))
  }
