import { expect, suite, test } from 'vitest'
import type { Json, JsonObject } from './json.ts'
import { payloadFaults, schemaFaults } from './payload-schema.ts'

const object = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({ type: 'object', properties, ...more })

suite('a payload', () => {
  test('that fits has no faults', () => {
    const schema = object({ user_id: { type: ['string', 'integer'] } }, { required: ['user_id'] })

    expect(payloadFaults(schema, { user_id: 42 }, 'payload')).toEqual([])
  })

  test('has all its faults named at once, in plain words', () => {
    const schema = object(
      {
        user_id: { type: 'string' },
        age: { type: 'integer', minimum: 0 },
        mail: { type: 'string', format: 'email' },
        code: { type: 'string', pattern: '^[A-Z]+$' },
        number: { type: 'string', pattern: '^[0-9]+$' },
        level: { enum: ['low', 'high'] },
        options: { type: 'array', items: object({ label: { type: 'string', minLength: 1 } }) },
      },
      { required: ['user_id', 'name'], additionalProperties: false },
    )

    const faults = payloadFaults(
      schema,
      {
        user_id: true,
        age: -1,
        mail: 'no',
        code: 'x',
        number: '1',
        level: 'mid',
        options: [{ label: 'a' }, { label: '' }],
        'ex tra': 1,
      },
      'payload',
    )

    expect(Object.fromEntries(faults.map(({ field, message }) => [field, message]))).toEqual({
      'payload.name': 'is required',
      'payload["ex tra"]': 'is not a known field',
      'payload.user_id': 'must be text',
      'payload.age': 'must be at least 0',
      'payload.mail': 'must be in the format email',
      'payload.code': 'must match the pattern ^[A-Z]+$',
      'payload.level': 'must be one of: "low", "high"',
      'payload.options[1].label': 'must not be empty',
    })
  })

  test('never has its values repeated', () => {
    const faults = payloadFaults(
      object({ mail: { type: 'string', format: 'email' } }),
      { mail: 'secret value' },
      'data',
    )

    expect(JSON.stringify(faults)).not.toContain('secret')
  })

  test('has at most 20 faults', () => {
    const items = Array.from({ length: 1000 }, () => 'x')

    expect(payloadFaults({ type: 'array', items: { type: 'number' } }, items, 'data')).toHaveLength(20)
  })

  test('is checked by draft-07 where the schema says so', () => {
    const schema: JsonObject = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'array',
      items: [{ type: 'string' }, { type: 'number' }],
      minItems: 2,
      additionalItems: false,
    }

    expect(payloadFaults(schema, ['a', 'b'], 'data')).toEqual([{ field: 'data[1]', message: 'must be a number' }])
  })

  test.each(['email', 'uri', 'hostname', 'ipv6', 'date-time', 'duration', 'uuid'])(
    'of hostile text is held against the format %s in no time',
    (format) => {
      const schema: JsonObject = { type: 'string', format }
      const startedAt = performance.now()

      for (const unit of ['a', '.', '@a.', ':', '%', '1', 'a@']) payloadFaults(schema, unit.repeat(200_000), 'data')
      for (const unit of ['a', '.', '@a.', ':', '%', '1', 'a@']) payloadFaults(schema, unit.repeat(680), 'data')

      expect(performance.now() - startedAt).toBeLessThan(1_000)
    },
  )
})

suite('a schema', () => {
  const REFUSED: [string, Json, string][] = [
    ['an unknown keyword', { typo: 1 }, 'typo'],
    ['an unknown type', { type: 'text' }, 'type'],
    ['a draft by another address', { $schema: 'https://json-schema.org/draft-07/schema#' }, 'schema.$schema must be'],
    ['the new one as well', { $schema: 'http://json-schema.org/draft/2020-12/schema' }, 'schema.$schema must be'],
    ['an unknown format', { type: 'string', format: 'regex' }, 'format'],
    ['a remote reference', { $ref: 'https://example.com/schema' }, 'must lead into this schema'],
    ['a reference to nowhere', { $ref: '#/$defs/nothing' }, 'nothing'],
    ['a reference to itself', object({ child: { $ref: '#' } }), 'leads back to itself'],
    [
      'a circle',
      { $defs: { a: { $ref: '#/$defs/b' }, b: { not: { $ref: '#/$defs/a' } } }, $ref: '#/$defs/a' },
      'leads back',
    ],
    ['$data', { type: 'number', minimum: 1, $data: '1/x' }, 'not supported'],
    ['$id', { $id: 'https://example.com/a' }, 'rename'],
    ['another draft', { $schema: 'http://json-schema.org/draft-04/schema#' }, 'draft'],
    ['an endless pattern', { type: 'string', pattern: '(a)\\1' }, 'back reference'],
    ['an unbounded uniqueItems', { type: 'array', uniqueItems: true }, 'maxItems'],
    ['too many levels', JSON.parse('{"not":'.repeat(30) + '{}' + '}'.repeat(30)), 'levels'],
    ['too much text', { description: 'x'.repeat(70_000) }, '64 KB'],
  ]

  test.each(REFUSED)('with %s is refused', (_, schema, reason) => {
    const faults = schemaFaults(schema as JsonObject)

    expect(faults.map(({ field, message }) => `${field} ${message}`).join()).toContain(reason)
  })

  test.each<[Json, string, string]>([
    [object({ age: { type: 'text' } }), 'schema.properties.age.type', 'must be one of: "array", "boolean", '],
    [{ type: 'string', maxLength: -1 }, 'schema.maxLength', 'must be at least 0'],
    [{ type: 'object', required: 'id' }, 'schema.required', 'must be a list'],
    [{ $schema: 'http://json-schema.org/draft-07/schema#', type: 5 }, 'schema.type', 'must be one of: '],
  ])('%j is refused where it is wrong', (schema, field, message) => {
    expect(schemaFaults(schema as JsonObject)).toContainEqual({ field, message: expect.stringContaining(message) })
  })

  test('that doubles itself with each reference is refused', () => {
    const $defs: JsonObject = { d0: { type: 'string' } }
    for (let level = 1; level <= 30; level += 1) {
      $defs[`d${level}`] = { anyOf: [{ $ref: `#/$defs/d${level - 1}` }, { $ref: `#/$defs/d${level - 1}` }] }
    }

    const faults = schemaFaults({ $defs, $ref: '#/$defs/d30' })

    expect(faults[0]?.message).toContain('too large')
  })

  test('with local definitions and a pattern may be used', () => {
    const schema = object(
      { id: { $ref: '#/$defs/id' }, tags: { type: 'array', uniqueItems: true, maxItems: 10 } },
      { $defs: { id: { type: 'string', pattern: '^[a-z0-9-]{1,36}$' } } },
    )

    expect(schemaFaults(schema)).toEqual([])
  })
})
