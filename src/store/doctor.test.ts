import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { backlog, databaseHealth } from './doctor.ts'

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

  test('is how long the oldest due delivery waits, and what waits for a person', async () => {
    expect(await backlog(database.db)).toEqual({ oldest_waiting_seconds: null, failed: 0, uncertain: 0 })

    await database.db.query(
      `insert into ready (lane, priority, run_at, id)
       values (0, 1, now() - interval '90 seconds', 1), (0, 1, now() + interval '1 hour', 2)`,
    )
    await database.db.query(
      `insert into dead (delivery_id, kind, reason) values (1, 'failed', 'a'), (2, 'uncertain', 'b')`,
    )

    const found = await backlog(database.db)
    expect(found).toMatchObject({ failed: 1, uncertain: 1 })
    expect(found.oldest_waiting_seconds).toBeGreaterThanOrEqual(90)
    expect(found.oldest_waiting_seconds).toBeLessThan(120)
  })
})
