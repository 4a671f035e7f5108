import type { Queryable } from '../db/db.ts'

/** What the database says of its own health; times in seconds. */
export type DatabaseHealth = {
  version: string
  /** As PostgreSQL counts: 150004 is 15.4. */
  version_number: number
  /** The database's clock, in milliseconds since 1970. */
  clock_ms: number
}

/** Answers from any PostgreSQL, with our tables or without. */
export async function databaseHealth(db: Queryable): Promise<DatabaseHealth> {
  const [health] = await db.query<DatabaseHealth>(
    `select current_setting('server_version') as version,
       current_setting('server_version_num')::int as version_number,
       (extract(epoch from clock_timestamp()) * 1000)::float8 as clock_ms`,
  )
  if (!health) throw new Error('The database gave no answer')
  return health
}
