import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { databaseHealth } from './doctor.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

suite('the health of a database', () => {
  test('is its version and its clock', async () => {
    const { version, version_number, clock_ms } = await databaseHealth(database.db)

    expect(version_number).toBeGreaterThanOrEqual(150_000)
    expect(version).toMatch(/^\d+/)
    expect(Math.abs(clock_ms - Date.now())).toBeLessThan(5000)
  })
})
