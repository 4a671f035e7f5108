import type { SwaggerTransform, SwaggerTransformObject } from '@fastify/swagger'
import type { FastifySchema, RouteOptions } from 'fastify'
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Access } from './access.ts'
import { problemSchema } from './problem.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** How a route refuses what is well-formed, for the document. */
    refusals?: readonly (keyof typeof REFUSALS)[]
  }
}

/** One route of the document, from its zod schemas: also who may call it, and how it answers errors. */
export const openApiRoute: SwaggerTransform = (document) => {
  const { schema, url } = fromZod(document)
  return { schema: withAccess(schema, document.route), url }
}

/** The whole document, with those of the named schemas that it refers to. */
export const openApiDocument: SwaggerTransformObject = (document) => {
  const raw = JSON.stringify(componentsFromZod(document), (_name, value: unknown) => (isRecursion(value) ? {} : value))
  const result = JSON.parse(raw) as { components?: { schemas?: Record<string, unknown> } }
  const schemas = result.components?.schemas ?? {}
  for (;;) {
    const text = JSON.stringify(result)
    const unused = Object.keys(schemas).filter((name) => !text.includes(`"#/components/schemas/${name}"`))
    if (unused.length === 0) return result as ReturnType<SwaggerTransformObject>
    for (const name of unused) delete schemas[name]
  }
}

/** "Any JSON" refers to itself, in a way that the library writes as no valid reference. */
const isRecursion = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  '$ref' in value &&
  /^#\/components\/schemas\/(schema\d|__shared)/.test(String(value.$ref))

type ZodToJson = NonNullable<NonNullable<Parameters<typeof createJsonSchemaTransform>[0]>['zodToJsonConfig']>

/** The library's own loses those branches of unions that have a transform. */
const override: NonNullable<ZodToJson['override']> = ({ zodSchema, jsonSchema }) => {
  if (zodSchema instanceof z.ZodUndefined) jsonSchema.type = 'null'
}

const zodToJsonConfig = { override }
const fromZod = createJsonSchemaTransform({ zodToJsonConfig })
const componentsFromZod = createJsonSchemaTransformObject({ zodToJsonConfig })

const REFUSALS = {
  conflict: {
    status: 409,
    says: 'It cannot be done as things are: `detail` says why. With `Retry-After`: send it again.',
  },
  mismatch: { status: 422, says: 'The `Idempotency-Key`, or the id, came before with another body.' },
} as const

type Answers = Record<string, unknown>

/** Adds who may call a route, and how it answers errors. */
function withAccess(schema: FastifySchema, route: RouteOptions): FastifySchema {
  if (schema.hide) return schema
  const access = route.config?.access
  const isOpen = access === 'public'
  const refusals = (route.config?.refusals ?? []).map((code) => REFUSALS[code])
  return {
    ...schema,
    security: securityOf(access),
    response: {
      ...(schema.response as Answers),
      400: problem('The request is wrong: `errors` names each field at fault.'),
      ...(!isOpen && { 401: problem('Credentials are missing or not valid.') }),
      ...(!isOpen && { 403: problem('The caller may not do this.') }),
      ...(route.url.includes(':') && { 404: problem('There is none, or it is of somebody else.') }),
      ...Object.fromEntries(refusals.map(({ status, says }) => [status, problem(says)])),
      ...(schema.body !== undefined && {
        413: problem('The body is too large.'),
        415: problem('The `Content-Type` is not that of JSON.'),
      }),
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
