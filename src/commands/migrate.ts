import { configOfProcess } from '../config.ts'
import { migrate } from '../db/migrate.ts'
import { withDatabaseUrl } from './database.ts'
import { print } from './print.ts'

/** `eventcenter migrate`: brings the tables to this version. Safe to repeat, and beside running servers. */
export async function migrateCommand(): Promise<void> {
  const { applied } = await withDatabaseUrl(configOfProcess(), (url) => migrate(url))
  for (const name of applied) print(`applied ${name}`)
  print(applied.length === 0 ? 'The database is up to date.' : 'The database is up to date now.')
}
