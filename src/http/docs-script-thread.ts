import { parentPort } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import scalar from '@scalar/fastify-api-reference'
import { fastify } from 'fastify'

// The package gives its script away over HTTP only.
const app = fastify()
await app.register(scalar, { routePrefix: '/docs', configuration: { url: '/openapi.json' } })
const { body, statusCode } = await app.inject('/docs/js/scalar.js')
if (statusCode !== 200) throw new Error('The package of the API page has no script')
const bytes = new Uint8Array(gzipSync(body))
parentPort?.postMessage(bytes, [bytes.buffer])
await app.close()
