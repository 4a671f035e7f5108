import type { Queryable } from '../db/db.ts'

/** Makes the weekly partitions of this week and the next three. Safe to repeat and to run in several processes. */
export async function createPartitions(db: Queryable): Promise<void> {
  await db.query('select create_partitions(now(), 4)')
}
