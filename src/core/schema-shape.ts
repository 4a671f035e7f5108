import type { FieldError } from './errors.ts'
import type { Json, JsonObject } from './json.ts'

const MAX_SCHEMA_BYTES = 64 * 1024
const MAX_DEPTH = 20
/** Subschemas that one value may be held against, with every reference written out. */
const MAX_COST = 2000
/** `uniqueItems` compares each item with each other. */
const MAX_UNIQUE_ITEMS = 1000

/** Keywords that hold one schema, a list of them, or named ones. */
const ONE = ['items', 'additionalItems', 'contains', 'additionalProperties', 'propertyNames', 'if', 'then', 'else', 'not',
  'unevaluatedItems', 'unevaluatedProperties'] // prettier-ignore
const LIST = ['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items']
const NAMED = ['properties', 'patternProperties', 'dependentSchemas', 'dependencies']
const DEFINITIONS = ['$defs', 'definitions']
const REFUSED: Record<string, string> = {
  $id: 'may not rename itself',
  $anchor: 'use $ref with "#/$defs/…"',
  $dynamicRef: 'use $ref with "#/$defs/…"',
  $dynamicAnchor: 'use $ref with "#/$defs/…"',
  $recursiveRef: 'use $ref with "#/$defs/…"',
  $recursiveAnchor: 'use $ref with "#/$defs/…"',
  $vocabulary: 'is not supported',
  $data: 'is not supported',
  $async: 'is not supported',
}
/** As the drafts themselves write it. */
const DRAFTS = /^(?:https:\/\/json-schema\.org\/draft\/2020-12|http:\/\/json-schema\.org\/draft-07)\/schema#?$/

/**
 * Why a schema may not be compiled: it is too large, leads outside itself, or references itself, so that checking a small
 * value could take for ever. It comes from anybody who may register event types.
 */
export function schemaShapeFaults(schema: JsonObject): FieldError[] {
  if (JSON.stringify(schema).length > MAX_SCHEMA_BYTES) return fault(`must be at most ${MAX_SCHEMA_BYTES / 1024} KB`)
  if (depth(schema) > MAX_DEPTH) return fault(`must be at most ${MAX_DEPTH} levels deep`)
  if (schema.$schema !== undefined && !(typeof schema.$schema === 'string' && DRAFTS.test(schema.$schema))) {
    return fault(
      'must be https://json-schema.org/draft/2020-12/schema or http://json-schema.org/draft-07/schema',
      'schema.$schema',
    )
  }
  const faults: FieldError[] = []
  visit(schema, 'schema', faults)
  if (faults.length > 0) return faults.slice(0, MAX_DEPTH)

  const cost = costOf(schema, schema, new Map())
  if (cost === Infinity) return fault('has a $ref that leads back to itself')
  return cost > MAX_COST ? fault('is too large once every $ref is written out') : []
}

const fault = (message: string, field = 'schema'): FieldError[] => [{ field, message }]

function depth(value: Json): number {
  if (value === null || typeof value !== 'object') return 0
  let deepest = 0
  for (const inner of Object.values(value)) {
    deepest = Math.max(deepest, 1 + depth(inner))
    if (deepest > MAX_DEPTH) break
  }
  return deepest
}

function visit(schema: Json, path: string, faults: FieldError[]): void {
  if (!isObject(schema)) return
  for (const [keyword, reason] of Object.entries(REFUSED)) {
    if (Object.hasOwn(schema, keyword)) faults.push({ field: `${path}.${keyword}`, message: reason })
  }
  const { $ref, maxItems } = schema
  if ($ref !== undefined && !(typeof $ref === 'string' && /^#(?:\/[\w$.~-]+)*$/.test($ref))) {
    faults.push({ field: `${path}.$ref`, message: 'must lead into this schema: "#/$defs/…"' })
  }
  if (schema.uniqueItems === true && !(typeof maxItems === 'number' && maxItems <= MAX_UNIQUE_ITEMS)) {
    faults.push({ field: `${path}.uniqueItems`, message: `needs maxItems of at most ${MAX_UNIQUE_ITEMS}` })
  }
  for (const [name, inner] of children(schema, true)) visit(inner, `${path}.${name}`, faults)
}

/** How many subschemas are looked at for one value; infinite where a reference comes back to itself. */
function costOf(schema: Json, root: JsonObject, known: Map<Json, number>): number {
  if (!isObject(schema)) return 1
  const before = known.get(schema)
  if (before !== undefined) return before
  known.set(schema, Infinity) // until it is known: whoever comes here again goes in a circle
  let cost = 1
  if (typeof schema.$ref === 'string') cost += costOf(resolve(root, schema.$ref), root, known)
  for (const [, inner] of children(schema, false)) cost += costOf(inner, root, known)
  known.set(schema, cost)
  return cost
}

function children(schema: JsonObject, withDefinitions: boolean): [string, Json][] {
  const found: [string, Json][] = []
  for (const name of ONE) if (isObject(schema[name])) found.push([name, schema[name]])
  for (const name of LIST) {
    const list = schema[name]
    if (Array.isArray(list)) for (const [index, inner] of list.entries()) found.push([`${name}[${index}]`, inner])
  }
  for (const name of withDefinitions ? [...NAMED, ...DEFINITIONS] : NAMED) {
    const named = schema[name]
    if (isObject(named)) for (const [key, inner] of Object.entries(named)) found.push([`${name}.${key}`, inner])
  }
  return found
}

/** What a local reference leads to; one that leads nowhere is refused by the compiler. */
function resolve(root: JsonObject, reference: string): Json {
  let value: Json | undefined = root
  for (const part of reference.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    value =
      value !== null && typeof value === 'object' && Object.hasOwn(value, name)
        ? (value as JsonObject)[name]
        : undefined
  }
  return value ?? true
}

const isObject = (value: Json | undefined): value is JsonObject =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
