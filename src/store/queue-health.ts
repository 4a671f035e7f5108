import { LANES, PRIORITIES, type Lane } from '../core/event.ts'
import type { QueueHealth } from '../core/queue-health.ts'
import type { Queryable } from '../db/db.ts'
import { WEEKS_AHEAD } from './partitions.ts'

/** Asks the database how it and the queue are. A few reads of small tables and of statistics. */
export async function queueHealth(db: Queryable): Promise<QueueHealth> {
  return {
    oldestTransactionSeconds: await oldestTransaction(db),
    oldestDueSeconds: await oldestDue(db),
    ...(await counts(db)),
    deadTuples: await deadTuples(db),
    ...(await partitionHealth(db)),
  }
}

async function oldestTransaction(db: Queryable): Promise<number> {
  const [row] = await db.query<{ seconds: number | null }>(
    `select extract(epoch from now() - least(
       (select min(xact_start) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'),
       (select min(prepared) from pg_prepared_xacts where database = current_database())
     ))::float8 as seconds`,
  )
  return Math.max(0, row?.seconds ?? 0)
}

/** One step into the queue's index for each lane and priority. */
async function oldestDue(db: Queryable): Promise<Record<Lane, number>> {
  const rows = await db.query<{ lane: number; seconds: number | null }>(
    `select lane, extract(epoch from now() - min(oldest.run_at))::float8 as seconds
     from unnest($1::smallint[]) as lane, unnest($2::smallint[]) as priority, lateral (
       select run_at from ready
       where ready.lane = lane.lane and ready.priority = priority.priority and run_at <= now()
       order by run_at limit 1
     ) as oldest
     group by lane`,
    [Object.values(LANES), Object.values(PRIORITIES)],
  )
  const secondsOf = (lane: number): number => Math.max(0, rows.find((row) => row.lane === lane)?.seconds ?? 0)
  const lanes = Object.entries(LANES).map(([name, lane]) => [name, secondsOf(lane)])
  return Object.fromEntries(lanes) as Record<Lane, number>
}

async function counts(db: Queryable): Promise<Pick<QueueHealth, 'ready' | 'leased' | 'deadLetters'>> {
  const [row] = await db.query<{ ready: number; leased: number; failed: number; uncertain: number }>(
    `select (select count(*)::integer from ready) as ready,
       (select coalesce(sum(cardinality(ids)), 0)::integer from lease) as leased,
       count(*) filter (where kind = 'failed')::integer as failed,
       count(*) filter (where kind = 'uncertain')::integer as uncertain
     from dead`,
  )
  const { ready = 0, leased = 0, ...deadLetters } = row ?? { failed: 0, uncertain: 0 }
  return { ready, leased, deadLetters }
}

/** By table; the partitions of one table count together. */
async function deadTuples(db: Queryable): Promise<Record<string, number>> {
  const rows = await db.query<{ name: string; count: number }>(
    `select hot.name, coalesce(sum(n_dead_tup), 0)::float8 as count
     from unnest(array['ready', 'lease', 'intent', 'inbox', 'notification', 'dead', 'idem', 'delivery']) as hot(name)
     left join pg_inherits on inhparent = to_regclass(hot.name)
     left join pg_stat_user_tables on relid = coalesce(inhrelid, to_regclass(hot.name))
     group by 1 order by 1`,
  )
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]))
}

async function partitionHealth(db: Queryable): Promise<Pick<QueueHealth, 'partitionsMissing' | 'strayRows'>> {
  const [row] = await db.query<{ missing: number; strays: number }>(
    `select (
       select count(*)::integer from unnest(array['event', 'delivery', 'attempt_log']) as wanted(parent),
         generate_series(0, $1) as week
       where not exists (
         select from time_partition where time_partition.parent = wanted.parent
           and row_id_at(now() + make_interval(weeks => week)) between from_id and to_id - 1)
     ) as missing,
     (select count(*)::integer from (
       select from event_other union all select from delivery_other union all select from attempt_log_other limit 1000000
     ) as other) as strays`,
    [WEEKS_AHEAD],
  )
  return { partitionsMissing: row?.missing ?? 0, strayRows: row?.strays ?? 0 }
}
