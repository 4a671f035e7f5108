import type { Queryable } from '../db/db.ts'
import { withdrawPage } from './withdraw.ts'
import { IS_CANCELLED } from './withdrawn.ts'

/** What is cancelled was at most so much: it is ended, and counted, at once. More is ended bit by bit. */
const COUNTED_JOBS = 100
const COUNTED_EVENTS = 100
/** What is ended at once is left alone by others for so long. */
const TURN_SECONDS = 10

/**
 * Cancels an event by its row id, in one write however many deliveries it has: nothing of it is sent from now on but what
 * has begun. Returns how many were waiting; null: too many to be counted at once. Repeating is harmless.
 */
export async function cancelOne(db: Queryable, companyId: string, rowId: string): Promise<number | null> {
  const [work] = await db.query<{ id: string; jobs_count: number | null }>(CANCEL_ONE, [rowId, companyId])
  if (!work) return 0
  if (work.jobs_count === null || work.jobs_count > COUNTED_JOBS) return null
  return (await withdrawPage(db, { id: work.id, event_id: rowId, cursor: '0' })).ended
}

/**
 * Cancels all events that were accepted with the key until now, in one write however many they are. Returns how many were
 * not cancelled before, and how many of their deliveries were waiting; nulls: too many to be counted at once.
 */
export async function cancelKey(
  db: Queryable,
  companyId: string,
  key: string,
): Promise<{ events: number | null; deliveries: number | null }> {
  const newest = await db.query<NewestRow>(NEWEST, [companyId, key, COUNTED_EVENTS + 1])
  const open = newest.filter((event) => !event.is_cancelled)
  const jobs = open.reduce((sum, event) => sum + (event.jobs_count ?? Infinity), 0)
  // Beyond the page, everything is cancelled if its last event came before an earlier cancelling of the key.
  const isWhole = newest.length <= COUNTED_EVENTS || newest.at(-1)?.is_before === true
  const isCounted = isWhole && jobs <= COUNTED_JOBS

  const cursor = isCounted ? (open.at(-1) ?? newest[0])?.previous_id : '0'
  const [work] = await db.query<{ id: string }>(CANCEL_KEY, [companyId, key, isCounted, cursor ?? '0'])
  if (!work || !isCounted) return { events: null, deliveries: null }
  let deliveries = 0
  for (let isLast = false; !isLast;) {
    const page = await withdrawPage(db, { id: work.id, event_id: null, cursor: '0' })
    deliveries += page.ended
    isLast = page.isLast
  }
  return { events: open.length, deliveries }
}

const CANCEL_ONE = `
with cancelled as (
  update event set cancelled_at = coalesce(cancelled_at, now()) where id = $1 and company_id = $2 returning id, jobs_count
),
work as (
  insert into withdrawal (event_id, turn_at)
  select id, case when jobs_count <= ${COUNTED_JOBS} then now() + make_interval(secs => ${TURN_SECONDS}) else now() end
  from cancelled
  returning id
)
select work.id, jobs_count from work, cancelled`

type NewestRow = { previous_id: string; jobs_count: number | null; is_cancelled: boolean; is_before: boolean }

const NEWEST = `
select id - 1 as previous_id, jobs_count, ${IS_CANCELLED} as is_cancelled, coalesce(created_at <= (
    select at from cancellation where company_id = $1 and cancellation_key = $2
  ), false) as is_before
from event where company_id = $1 and cancellation_key = $2
order by id desc limit $3`

const CANCEL_KEY = `
with cancelled as (
  insert into cancellation (company_id, cancellation_key, at) values ($1, $2, now())
  on conflict (company_id, cancellation_key) do update set at = greatest(cancellation.at, excluded.at)
  returning at
)
insert into withdrawal (company_id, cancellation_key, until, cursor, turn_at)
select $1, $2, at, $4, case when $3::boolean then now() + make_interval(secs => ${TURN_SECONDS}) else now() end from cancelled
returning id`
