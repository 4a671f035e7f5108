import { laneOf, LANES, PRIORITIES } from '../core/event.ts'
import type { QueueHealth } from '../core/queue-health.ts'
import type { Queryable } from '../db/db.ts'
import { stoppedAccounts } from './account-bucket.ts'
import { WEEKS_AHEAD } from './partitions.ts'

/** Asks the database how it and the queue are. A few reads of small tables and of statistics. */
export async function queueHealth(db: Queryable): Promise<QueueHealth> {
  return {
    oldestTransactionSeconds: await oldestTransaction(db),
    oldestDue: await oldestDue(db),
    stops: await stoppedAccounts(db),
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

/** One step into the queue's index for each channel, lane and priority, and one for each flow there, up to a thousand. */
async function oldestDue(db: Queryable): Promise<QueueHealth['oldestDue']> {
  const rows = await db.query<{ channel: string; lane: number; seconds: number | null }>(
    `with recursive place as (
       select number, name, lane, priority
       from channel, unnest($1::smallint[]) as lane, unnest($2::smallint[]) as priority
     ),
     head as (
       select place.*, first.flow, first.run_at, 1 as nth
       from place left join lateral (
         select flow, run_at from ready
         where channel = number and ready.lane = place.lane and ready.priority = place.priority
         order by channel, lane, priority, flow, run_at limit 1
       ) as first on true
       union all
       select number, name, head.lane, head.priority, next.flow, next.run_at, nth + 1
       from head cross join lateral (
         select flow, run_at from ready
         where channel = number and ready.lane = head.lane and ready.priority = head.priority and flow > head.flow
         order by channel, lane, priority, flow, run_at limit 1
       ) as next
       where nth < 1000
     )
     select name as channel, lane,
       extract(epoch from now() - min(run_at) filter (where run_at <= now()))::float8 as seconds
     from head group by name, lane order by name, lane`,
    [Object.values(LANES), Object.values(PRIORITIES)],
  )
  return rows.map(({ channel, lane, seconds }) => ({ channel, lane: laneOf(lane), seconds: Math.max(0, seconds ?? 0) }))
}

async function counts(db: Queryable): Promise<Pick<QueueHealth, 'ready' | 'leased' | 'waiting' | 'deadLetters'>> {
  const [row] = await db.query<{ ready: number; leased: number; waiting: number; failed: number; uncertain: number }>(
    `select (select count(*)::integer from ready) as ready,
       (select count(*)::integer from thread_waiting) as waiting,
       (select coalesce(sum(cardinality(ids)), 0)::integer from lease) as leased,
       count(*) filter (where kind = 'failed')::integer as failed,
       count(*) filter (where kind = 'uncertain')::integer as uncertain
     from dead`,
  )
  const { ready = 0, leased = 0, waiting = 0, ...deadLetters } = row ?? { failed: 0, uncertain: 0 }
  return { ready, leased, waiting, deadLetters }
}

/** By table; the partitions of one table count together. */
async function deadTuples(db: Queryable): Promise<Record<string, number>> {
  const rows = await db.query<{ name: string; count: number }>(
    `select hot.name, coalesce(sum(n_dead_tup), 0)::float8 as count
     from unnest(array['ready', 'lease', 'intent', 'inbox', 'notification', 'dead', 'idem', 'delivery',
       'thread', 'thread_waiting', 'collapse']) as hot(name)
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
