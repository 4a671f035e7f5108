import type { FastifyInstance, RouteOptions } from 'fastify'
import { serializerCompiler } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { AppError, type FieldError } from '../core/errors.ts'

/** Checks requests and answers by the zod schemas of the routes. Every fault of a request is named, field by field. */
export function zodValidation(app: FastifyInstance): void {
  app.setSerializerCompiler(serializerCompiler)
  app.setValidatorCompiler(({ schema }) => (data: unknown) => {
    const result = (schema as z.ZodType).safeParse(data)
    return result.success ? { value: result.data } : { error: invalid(result.error.issues) }
  })

  app.addHook('onRoute', (route: RouteOptions) => {
    const { body, querystring, params } = route.schema ?? {}
    for (const schema of [body, querystring, params]) {
      if (schema === undefined || !silentlyDropsProperties(schema as z.core.$ZodType)) continue
      throw new Error(`${String(route.method)} ${route.url} takes a z.object: say z.strictObject or z.looseObject`)
    }
  })
}

/** An `invalid` error that names every fault a zod schema found. */
export function invalid(issues: readonly z.core.$ZodIssue[]): AppError {
  const fields = issues.flatMap(fieldErrors).slice(0, MAX_FIELDS)
  const detail = fields.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ')
  return new AppError('invalid', detail, { fields })
}

const MAX_FIELDS = 50

function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  const field = issue.path.map(String).join('.')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: join(field, key.slice(0, 100)), message: 'is not a known property' }))
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch with the fewest faults is most likely the one that was meant.
    const branches = issue.errors.map((branch) => branch.flatMap(fieldErrors)).sort((a, b) => a.length - b.length)
    return (branches[0] ?? []).map((error) => ({ ...error, field: join(field, error.field) }))
  }
  return [{ field, message: issue.message }]
}

const join = (parent: string, child: string): string => [parent, child].filter((part) => part !== '').join('.')

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
