import fc from 'fast-check'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { binaryArray, type ElementType } from './binary-array.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

const back = async (type: ElementType, values: readonly (string | number | boolean | null)[]): Promise<unknown> => {
  const shown = type === 'bytea' ? `encode(value, 'hex')` : 'value'
  const rows = await database.db.query<{ value: unknown }>(
    `select ${shown} as value from unnest($1::${type}[]) with ordinality as x(value, n) order by n`,
    [binaryArray(type, values, (value) => value)],
  )
  return rows.map(({ value }) => value)
}

/** What PostgreSQL can keep as text. */
const text = fc
  .string({ unit: 'grapheme', maxLength: 300 })
  .filter((value) => value.isWellFormed() && !value.includes('\0'))
const bigint = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)
const hex = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('hex'))

suite('an array in binary form', () => {
  test.each<[ElementType, fc.Arbitrary<string | number | boolean>]>([
    ['text', text],
    ['bigint', bigint],
    ['integer', fc.integer()],
    ['smallint', fc.integer({ min: -32_768, max: 32_767 })],
    ['boolean', fc.boolean()],
    ['uuid', fc.uuid()],
    ['bytea', hex],
  ])('of %s arrives as it was', async (type, value) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(value), { maxLength: 40 }), async (values) => {
        expect(await back(type, values)).toEqual(values)
      }),
      { numRuns: 40 },
    )
  })

  test('of json arrives as the values that were written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean()))), async (values) => {
        const stored = values.map((value) => JSON.stringify(value))

        expect(await back('json', stored)).toEqual(stored.map((value) => JSON.parse(value) as unknown))
      }),
      { numRuns: 40 },
    )
  })

  test('refuses a number that its type cannot hold', () => {
    expect(() => binaryArray('smallint', [40_000], (value) => value)).toThrow(/out of range/)
    expect(() => binaryArray('bigint', [`${2n ** 63n}`], (value) => value)).toThrow(/out of range/)
  })

  test('of a uuid that is none is refused, not cut', () => {
    expect(() => binaryArray('uuid', ['not-a-uuid'], (value) => value)).toThrow(/uuid/)
    expect(() => binaryArray('bytea', ['0x'], (value) => value)).toThrow(/hex/)
  })
})
