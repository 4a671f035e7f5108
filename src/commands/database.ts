import path from 'node:path'
import type { Config } from '../config.ts'
import { AppError } from '../core/errors.ts'
import { SUPERUSER } from '../db/cluster.ts'
import type { Db } from '../db/db.ts'
import { startEmbedded } from '../db/embedded.ts'
import { migrate, pendingMigrations } from '../db/migrate.ts'
import { connect } from '../db/pool.ts'
import { adoptPostmaster } from '../db/postmaster.ts'
import { embeddedDirectory } from '../settings.ts'

type DatabaseConfig = Pick<Config, 'DATABASE_URL' | 'DATA_DIR'>

/**
 * Does something with the database's URL, whichever database it is: a server, the embedded one of a running
 * EventCenter, or the embedded one started for this and stopped afterwards.
 */
export async function withDatabaseUrl<Result>(
  { DATABASE_URL, DATA_DIR }: DatabaseConfig,
  work: (url: string) => Promise<Result>,
): Promise<Result> {
  if (embeddedDirectory(DATABASE_URL) === null) return work(DATABASE_URL)

  const running = await adoptPostmaster(path.join(DATA_DIR, 'postgres'))
  if (running) return work(`postgres://${SUPERUSER}@/postgres?host=${encodeURIComponent(await running.ready)}`)

  const embedded = await startEmbedded(DATA_DIR)
  try {
    return await work(embedded.url)
  } finally {
    await embedded.stop()
  }
}

/** The same with a connected database that has all tables. Those of an embedded database are made if need be. */
export function withDatabase<Result>(config: DatabaseConfig, work: (db: Db) => Promise<Result>): Promise<Result> {
  return withDatabaseUrl(config, async (url) => {
    const isEmbedded = embeddedDirectory(config.DATABASE_URL) !== null
    if (isEmbedded) await migrate(url)
    else if ((await pendingMigrations(url)).length > 0) {
      throw new AppError('conflict', 'The database lacks tables of this version: run `eventcenter migrate` first')
    }
    const db = connect(url, { maxConnections: 2, applicationName: 'eventcenter command' })
    try {
      return await work(db)
    } finally {
      await db.close()
    }
  })
}
