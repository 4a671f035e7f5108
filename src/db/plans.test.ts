import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from '../queue/postgres.ts'
import { connect } from './pool.ts'
import type { Db } from './db.ts'

suite('a prepared statement', () => {
  let database: FreshDatabase
  let db: Db

  beforeAll(async () => {
    database = await freshDatabase()
    db = connect(database.url, { maxConnections: 1 })
  })
  afterAll(async () => {
    await db.close()
    await database.close()
  })

  const wholeReads = async (): Promise<number> => {
    await db.query('select pg_stat_force_next_flush()')
    const rows = await db.query<{ count: string }>(
      `select seq_scan as count from pg_stat_user_tables where relname = 'ready'`,
    )
    return Number(rows[0]!.count)
  }

  test('goes on using indexes when a table that was empty has filled', async () => {
    await db.query('alter table ready set (autovacuum_enabled = false)')
    await db.query('vacuum analyze ready')
    const queue = postgresQueue({ db, nextId: idGenerator(() => 1), workerId: crypto.randomUUID(), leaseSeconds: 30 })
    // After five runs PostgreSQL keeps one plan.
    for (let run = 0; run < 7; run++) await queue.claim('p2p', 10)
    await db.query('insert into ready select 0, 1, now(), id from generate_series(1, 5000) as id')
    const before = await wholeReads()

    await queue.claim('p2p', 10)

    expect(await wholeReads()).toBe(before)
  })
})
