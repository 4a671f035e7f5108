import { randomUUID } from 'node:crypto'
import { inject } from 'vitest'
import type { Db } from '../src/db/db.ts'
import { connect } from '../src/db/pool.ts'

export type FreshDatabase = { db: Db; url: string; close: () => Promise<void> }

/** A real database with the tables and no rows, for one test file. `url` works as DATABASE_URL of a child process. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await onServer(`create database ${name} template template`)
  const url = inject('databaseUrl').replace('/postgres?', `/${name}?`)
  const db = connect(url)

  return {
    db,
    url,
    async close() {
      await db.close()
      await onServer(`drop database ${name} with (force)`)
    },
  }
}

async function onServer(sql: string): Promise<void> {
  const db = connect(inject('databaseUrl'), { maxConnections: 1, statementTimeoutMs: 60_000 })
  await db.query(sql)
  await db.close()
}
