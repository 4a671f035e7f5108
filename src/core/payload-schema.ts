import type { ErrorObject, Options, SchemaObject, ValidateFunction } from 'ajv'
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import type { FieldError } from './errors.ts'
import type { Json, JsonObject } from './json.ts'
import { safePattern } from './safe-pattern.ts'
import { schemaShapeFaults } from './schema-shape.ts'

/** More help nobody, and an answer must stay small. */
const MAX_FAULTS = 20

/**
 * What is wrong with `data`, all of it at once, in plain words; `prefix` is how the caller calls `data` (`payload`).
 * Values are never repeated: they may be personal.
 */
export function payloadFaults(schema: JsonObject, data: Json, prefix: string): FieldError[] {
  const validate = validatorOf(schema)
  return validate(data) ? [] : faultsOf(validate.errors ?? [], prefix)
}

function faultsOf(errors: readonly ErrorObject[], prefix: string): FieldError[] {
  const faults = new Map<string, FieldError>()
  for (const error of errors) {
    if (faults.size === MAX_FAULTS) break
    const fault = faultOf(error, prefix)
    faults.set(`${fault.field} ${fault.message}`, fault)
  }
  return [...faults.values()]
}

/** What is wrong with a schema itself: syntax, size, or a construct that could be made to take for ever. */
export function schemaFaults(schema: JsonObject): FieldError[] {
  const faults = schemaShapeFaults(schema)
  if (faults.length > 0) return faults
  try {
    const ajv = compilerOf(schema)
    if (ajv.validateSchema(schema) !== true) return faultsOf(ajv.errors ?? [], 'schema')
    validatorOf(schema)
    return []
  } catch (error) {
    return [{ field: 'schema', message: error instanceof Error ? error.message.slice(0, 500) : 'cannot be used' }]
  }
}

const compilerOf = ({ $schema }: JsonObject): Ajv =>
  typeof $schema === 'string' && $schema.includes('draft-07') ? draft07 : draft2020

const validators = new WeakMap<JsonObject, ValidateFunction>()

function validatorOf(schema: JsonObject): ValidateFunction {
  const known = validators.get(schema)
  if (known) return known
  const ajv = compilerOf(schema)
  try {
    const validate = ajv.compile(schema as SchemaObject)
    validators.set(schema, validate)
    return validate
  } finally {
    // The instance would keep every version of every schema for ever.
    ajv.removeSchema(schema)
  }
}

/** The compiler tells expressions apart by their text: without `toString` all of them would be the first one. */
const pattern = Object.assign((source: string) => ({ ...safePattern(source), toString: () => source }), {
  code: 'safePattern',
})

/** Long texts are refused before a format's own expression looks at them. */
const MAX_FORMAT_LENGTH = 2048

/** Formats whose expressions are known to be linear, or nearly so, on bounded text. */
const FORMATS = ['date', 'time', 'date-time', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uri', 'uuid'] as const

const options: Options = {
  allErrors: true,
  strict: true,
  strictRequired: false, // `anyOf` of `required` is a fair thing to say
  allowUnionTypes: true,
  addUsedSchema: false,
  logger: false,
  messages: false,
  code: { regExp: pattern },
  formats: Object.fromEntries(
    FORMATS.map((name) => [name, (text: string) => text.length <= MAX_FORMAT_LENGTH && fits(name, text)]),
  ),
}

function fits(name: (typeof FORMATS)[number], text: string): boolean {
  const format = fullFormats[name]
  if (format instanceof RegExp) return format.test(text)
  if (typeof format === 'function') return format(text)
  if (typeof format !== 'object' || !('validate' in format)) return false
  const { validate } = format
  if (validate instanceof RegExp) return validate.test(text)
  return typeof validate === 'function' && (validate as (text: string) => boolean)(text)
}

const draft07 = new Ajv(options)
const draft2020 = new Ajv2020(options)

function faultOf({ instancePath, keyword, params }: ErrorObject, prefix: string): FieldError {
  const field = instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce(member, prefix)
  if (keyword === 'required') return { field: member(field, String(params.missingProperty)), message: 'is required' }
  if (keyword === 'additionalProperties' || keyword === 'unevaluatedProperties') {
    const name = String(params.additionalProperty ?? params.unevaluatedProperty)
    return { field: member(field, name), message: 'is not a known field' }
  }
  return { field, message: describe(keyword, params) }
}

const MAX_NAME_LENGTH = 100

function member(path: string, name: string): string {
  if (/^\d+$/.test(name)) return `${path}[${name}]`
  if (/^[\p{L}_$][\p{L}\d_$-]*$/u.test(name) && name.length <= MAX_NAME_LENGTH)
    return path === '' ? name : `${path}.${name}`
  return `${path}[${JSON.stringify(name.slice(0, MAX_NAME_LENGTH))}]`
}

const TYPE_NAMES: Record<string, string> = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  null: 'null',
}

const COMPARISONS: Record<string, string> = {
  '>=': 'at least',
  '<=': 'at most',
  '>': 'more than',
  '<': 'less than',
}

function describe(keyword: string, params: Record<string, unknown>): string {
  const limit = String(params.limit)
  switch (keyword) {
    case 'type':
      return `must be ${[params.type]
        .flat()
        .map((type) => TYPE_NAMES[String(type)] ?? String(type))
        .join(' or ')}`
    case 'enum':
      return `must be one of: ${(params.allowedValues as Json[])
        .map((value) => JSON.stringify(value))
        .join(', ')
        .slice(0, 300)}`
    case 'const':
      return `must be ${JSON.stringify(params.allowedValue).slice(0, 300)}`
    case 'format':
      return `must be in the format ${String(params.format)}`
    case 'pattern':
      return `must match the pattern ${String(params.pattern)}`
    case 'minLength':
      return limit === '1' ? 'must not be empty' : `must have at least ${limit} characters`
    case 'maxLength':
      return `must have at most ${limit} characters`
    case 'minItems':
      return `must have at least ${limit} items`
    case 'maxItems':
      return `must have at most ${limit} items`
    case 'minProperties':
      return `must have at least ${limit} fields`
    case 'maxProperties':
      return `must have at most ${limit} fields`
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
    case 'exclusiveMaximum':
      return `must be ${COMPARISONS[String(params.comparison)] ?? ''} ${limit}`
    case 'multipleOf':
      return `must be a multiple of ${String(params.multipleOf)}`
    case 'uniqueItems':
      return 'must not hold the same item twice'
    case 'dependentRequired':
      return `must have ${String(params.deps)} beside ${String(params.property)}`
    case 'anyOf':
    case 'oneOf':
      return 'fits none of the allowed forms, or more than one'
    case 'propertyNames':
      return 'has a field name that is not allowed'
    default:
      return `does not satisfy "${keyword}" of the event type's schema`
  }
}
