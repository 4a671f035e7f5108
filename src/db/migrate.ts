import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { AppError } from '../core/errors.ts'
import { connectionConfig } from './connection-config.ts'
import { toAppError } from './database-errors.ts'

type Migration = { name: string; sql: string; checksum: string; inTransaction: boolean }

/** "eventc" in ASCII: one lock for all processes that share a database. */
const LOCK_KEY = '111550542669923'
const DIRECTORY = fileURLToPath(new URL('../../migrations/', import.meta.url))

/**
 * Applies the files of `migrations/` that the database has not seen, in the order of their names, each in its own
 * transaction. Safe in several processes at once. A file whose first line is `-- no-transaction` runs outside one: it
 * must hold one statement, and one that may be repeated.
 */
export async function migrate(target: string | pg.ClientConfig, directory = DIRECTORY): Promise<{ applied: string[] }> {
  const migrations = await readMigrations(directory)
  return withConnection(target, async (client) => {
    await lock(client)
    await client.query(`create table if not exists schema_migration (
      name text primary key,
      checksum text not null,
      applied_at timestamptz not null default now()
    )`)
    const pending = await unapplied(client, migrations)
    for (const migration of pending) await apply(client, migration)
    return { applied: pending.map(({ name }) => name) }
  })
}

/** Names of the files that `migrate` would apply. Changes nothing. */
export async function pendingMigrations(target: string | pg.ClientConfig, directory = DIRECTORY): Promise<string[]> {
  const migrations = await readMigrations(directory)
  return withConnection(target, async (client) => {
    const { rows } = await client.query<{ exists: boolean }>(
      `select to_regclass('schema_migration') is not null as "exists"`,
    )
    const pending = rows[0]?.exists ? await unapplied(client, migrations) : migrations
    return pending.map(({ name }) => name)
  })
}

async function readMigrations(directory: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (name) => {
      const sql = (await readFile(`${directory}/${name}`, 'utf8')).replaceAll('\r\n', '\n')
      const checksum = createHash('sha256').update(sql).digest('hex')
      return { name, sql, checksum, inTransaction: !/^-- no-transaction\s/.test(sql) }
    }),
  )
}

async function unapplied(client: pg.Client, migrations: Migration[]): Promise<Migration[]> {
  const { rows } = await client.query<{ name: string; checksum: string }>('select name, checksum from schema_migration')
  const checksums = new Map(rows.map(({ name, checksum }) => [name, checksum]))
  const changed = migrations.find(({ name, checksum }) => (checksums.get(name) ?? checksum) !== checksum)
  if (changed) {
    throw new AppError(
      'conflict',
      `migrations/${changed.name} was changed after this database applied it. Restore the file and put the change into a new one.`,
    )
  }
  return migrations.filter(({ name }) => !checksums.has(name))
}

async function apply(client: pg.Client, { name, sql, checksum, inTransaction }: Migration): Promise<void> {
  try {
    if (inTransaction) await client.query('begin')
    await client.query(sql)
    await client.query('insert into schema_migration (name, checksum) values ($1, $2)', [name, checksum])
    if (inTransaction) await client.query('commit')
  } catch (error) {
    // The connection ends with this error, and PostgreSQL rolls back.
    throw new Error(`migrations/${name} failed: ${(error as Error).message}`, { cause: error })
  }
}

/** Tries instead of waiting: a statement that waits holds a snapshot, and `create index concurrently` waits for those. */
async function lock(client: pg.Client): Promise<void> {
  while (true) {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [LOCK_KEY])
    if (rows[0]?.locked) return
    await sleep(50)
  }
}

async function withConnection<Result>(
  target: string | pg.ClientConfig,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  let isLost = true
  const options = { statementTimeoutMs: 0, lockTimeoutMs: 30_000, applicationName: 'eventcenter migrate' }
  const client = new pg.Client(connectionConfig(target, options))
  client.on('error', () => {
    isLost = true // what is running rejects too
  })
  try {
    await client.connect()
    isLost = false
    return await work(client)
  } catch (error) {
    throw toAppError(error, isLost)
  } finally {
    await client.end()
  }
}
