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

/** What waits for a worker, and what waits for a person. */
export type Backlog = { oldest_waiting_seconds: number | null; failed: number; uncertain: number }

/** How long the oldest due delivery has been waiting, and how many dead letters there are. */
export async function backlog(db: Queryable): Promise<Backlog> {
  const [found] = await db.query<Backlog>(
    `select
       (select extract(epoch from now() - min(run_at))::float8 from ready where run_at <= now()) as oldest_waiting_seconds,
       (select count(*)::int from dead where kind = 'failed') as failed,
       (select count(*)::int from dead where kind = 'uncertain') as uncertain`,
  )
  return found ?? { oldest_waiting_seconds: null, failed: 0, uncertain: 0 }
}
