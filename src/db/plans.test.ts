import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from '../queue/postgres.ts'
import type { Queue } from '../queue/queue.ts'
import { connect } from './pool.ts'
import type { Db } from './db.ts'

const PLACE = { channel: 'email', lane: 'p2p' } as const

/** What an idle worker asks, and what it does then. */
async function look(queue: Queue): Promise<void> {
  await queue.due([PLACE])
  await queue.claim(PLACE, 10)
}

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
    for (let run = 0; run < 7; run++) await look(queue)
    await db.query(
      `insert into ready (channel, lane, priority, run_at, id)
       select channel_number('email'), 0, 1, now(), id from generate_series(1, 5000) as id`,
    )
    const before = await wholeReads()

    await look(queue)

    expect(await wholeReads()).toBe(before)
  })
})
