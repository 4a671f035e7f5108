import type { Queryable } from '../db/db.ts'

/** Weeks that have their partitions before they begin, besides the current one. */
export const WEEKS_AHEAD = 3

/**
 * Makes the weekly partitions of this week and the next three; returns how many must wait because somebody's long
 * transaction is in the way. Safe to repeat and to run in several processes. Rows of a week that has no partition are
 * kept in the default one, and move when it gets its own.
 */
export async function createPartitions(db: Queryable): Promise<number> {
  const [row] = await db.query<{ missing: number }>('select create_partitions(now(), $1) as missing', [WEEKS_AHEAD + 1])
  return row?.missing ?? 0
}

/** Of one week and one table. */
export type TimePartition = { name: string; parent: 'event' | 'delivery' | 'attempt_log' }

/** Partitions that ended more than `days` ago, in the order in which they may go. */
export const oldPartitions = (db: Queryable, days: number): Promise<TimePartition[]> =>
  db.query<TimePartition>(
    `select name, parent from time_partition
     where to_id <= row_id_at(now() - make_interval(days => $1))
     order by from_id, array_position(array['delivery', 'attempt_log', 'event'], parent)`,
    [days],
  )

/** Why a partition must stay, as far as can be told without reading it; null: for nothing known. */
export async function partitionInUse(db: Queryable, name: string): Promise<string | null> {
  const [row] = await db.query<{ reason: string | null }>('select partition_in_use($1) as reason', [name])
  return row?.reason ?? null
}

/** Whether a partition of deliveries holds one that is not final, however it came to be lost. */
export async function hasUnfinished(db: Queryable, name: string): Promise<boolean> {
  for (let page = 0; ; page += PAGES) {
    const [row] = await db.query<{ found: boolean | null }>('select has_unfinished($1, $2, $3) as found', [
      name,
      page,
      PAGES,
    ])
    if (row?.found === true) return true
    if (typeof row?.found !== 'boolean') return false
  }
}

/** 128 MB: far from the time that a statement may take. */
const PAGES = 16_384

/** Drops a partition that ended more than `days` ago; null when it is gone, else why it stays. */
export async function dropPartition(db: Queryable, name: string, days: number): Promise<string | null> {
  const [row] = await db.query<{ reason: string | null }>(
    'select drop_partition($1, now() - make_interval(days => $2)) as reason',
    [name, days],
  )
  return row?.reason ?? null
}
