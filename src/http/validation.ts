import type { FastifyInstance, RouteOptions } from 'fastify'
import { serializerCompiler } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { invalidFields, type AppError, type FieldError } from '../core/errors.ts'

/** Checks requests and answers by the zod schemas of the routes. Every fault of a request is named, field by field. */
export function zodValidation(app: FastifyInstance): void {
  app.setSerializerCompiler(serializerCompiler)
  app.setValidatorCompiler(({ schema }) => (data: unknown) => {
    try {
      // Fastify says null where nothing was sent; a schema says by `optional` or `default` that this is fine.
      return { value: parse(schema as z.ZodType, data ?? undefined) }
    } catch (error) {
      return { error: error as AppError }
    }
  })

  app.addHook('preValidation', ({ body, routeOptions }, _reply, done) => {
    if (routeOptions.schema?.body !== undefined || typeof body !== 'object' || body === null) return done()
    const fields = Object.keys(body).map((key) => ({ field: shortened(key), message: UNKNOWN }))
    if (fields.length > 0) throw withFields(fields)
    done()
  })

  app.addHook('onRoute', (route: RouteOptions) => {
    const { body, querystring, params } = route.schema ?? {}
    for (const schema of [body, querystring, params]) {
      if (schema === undefined || !silentlyDropsProperties(schema as z.core.$ZodType)) continue
      throw new Error(`${String(route.method)} ${route.url} takes a z.object: say z.strictObject or z.looseObject`)
    }
  })
}

/** What the schema makes of the value. Throws `AppError('invalid')` that names every fault. */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value, { error: words })
  if (!result.success) throw withFields(result.error.issues.flatMap(fieldErrors))
  return result.data
}

/** Where zod's own words would be about its types and not about the request. */
const words: z.core.$ZodErrorMap = (issue) => {
  if (issue.code === 'invalid_type' && issue.input === undefined) return 'is required'
  if (issue.code === 'invalid_type' && issue.expected === 'record') return 'expected an object'
  if (issue.code === 'too_small' && issue.origin === 'string' && issue.minimum === 1) return 'must not be empty'
  if (issue.code === 'too_big' && issue.origin === 'string') return `must have at most ${issue.maximum} characters`
  return undefined
}

function withFields(all: FieldError[]): AppError {
  return invalidFields(all.slice(0, MAX_FIELDS))
}

const MAX_FIELDS = 50
const UNKNOWN = 'is not a known property'
const shortened = (name: string): string => (name.length > 100 ? `${name.slice(0, 100)}…` : name)

function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  const field = issue.path.reduce<string>(
    (path, step) => (typeof step === 'number' ? `${path}[${step}]` : join(path, shortened(String(step)))),
    '',
  )
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: join(field, shortened(key)), message: UNKNOWN }))
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch with the fewest faults is most likely the one that was meant.
    const branches = issue.errors.map((branch) => branch.flatMap(fieldErrors)).sort((a, b) => a.length - b.length)
    return (branches[0] ?? []).map((error) => ({ ...error, field: join(field, error.field) }))
  }
  return [{ field, message: issue.message }]
}

const join = (parent: string, child: string): string =>
  parent === '' || child === '' || child.startsWith('[') ? parent + child : `${parent}.${child}`

type Definition = z.core.$ZodTypes['_zod']['def']

/** True for a schema that has a `z.object` in it, which would drop unknown properties without a word. */
function silentlyDropsProperties(schema: z.core.$ZodType, seen = new Set<z.core.$ZodType>()): boolean {
  if (seen.has(schema)) return false
  seen.add(schema)
  const def = (schema as z.ZodType).def as Definition
  if (def.type === 'object' && def.catchall === undefined) return true
  return parts(def).some((part) => silentlyDropsProperties(part, seen))
}

function parts(def: Definition): readonly z.core.$ZodType[] {
  switch (def.type) {
    case 'object':
      return Object.values(def.shape)
    case 'array':
      return [def.element]
    case 'union':
      return def.options
    case 'intersection':
      return [def.left, def.right]
    case 'record':
    case 'map':
      return [def.valueType]
    case 'tuple':
      return def.items
    case 'pipe':
      return [def.in]
    case 'lazy':
      return [def.getter()]
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'catch':
    case 'readonly':
      return [def.innerType]
    default:
      return []
  }
}
