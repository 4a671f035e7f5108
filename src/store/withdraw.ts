import { STATES } from '../core/delivery.ts'
import { CHANGES } from '../core/delivery-life.ts'
import { LANES } from '../core/event.ts'
import type { Queryable } from '../db/db.ts'
import { IS_CANCELLED, IS_SUPERSEDED } from './withdrawn.ts'

const { cancel, supersede } = CHANGES
/** Deliveries, or jobs of events, looked at in one page. */
const PAGE_SIZE = 2000
/** Events of a key looked at in one page; those with more jobs each get a turn of their own. */
const EVENTS_PER_PAGE = 200
const MAX_SHARED_JOBS = 100
/** A process that takes longer for a page is dead. */
const TURN_SECONDS = 30

/** Something that was cancelled or superseded, and whose waiting deliveries are to be ended. */
export type Withdrawal = { id: string; event_id: string | null; cursor: string }

export type WithdrawnPage = { ended: number; isLast: boolean }

/** The next withdrawal that nobody is at, or null. It is this process's for some seconds. */
export async function takeWithdrawal(db: Queryable): Promise<Withdrawal | null> {
  const [taken] = await db.query<Withdrawal>(
    `update withdrawal set turn_at = now() + make_interval(secs => ${TURN_SECONDS})
     where id = (
       select id from withdrawal where turn_at <= now() order by turn_at limit 1 for update skip locked
     )
     returning id, event_id, cursor`,
  )
  return taken ?? null
}

/**
 * Ends a page of what waits, and moves on. What a worker holds at this moment is left to it: it asks before it sends.
 * Repeating a page is harmless.
 */
export async function withdrawPage(db: Queryable, withdrawal: Withdrawal): Promise<WithdrawnPage> {
  if (withdrawal.event_id === null) return withdrawEvents(db, withdrawal)
  const page = await endWaiting(db, 'delivery.event_id = $1', [withdrawal.event_id, withdrawal.cursor])
  const isLast = page.count < PAGE_SIZE
  await advance(db, withdrawal, isLast ? null : page.last)
  return { ended: page.ended, isLast }
}

/** Of a key: marks a page of its events, and ends what waits of them; large ones get turns of their own. */
async function withdrawEvents(db: Queryable, withdrawal: Withdrawal): Promise<WithdrawnPage> {
  const events = await db.query<{ id: string; jobs_count: number | null }>(MARK_EVENTS, [withdrawal.id])
  const [small, large]: [string[], string[]] = [[], []]
  let room = PAGE_SIZE
  for (const { id, jobs_count: jobs } of events) {
    const fits = jobs !== null && jobs <= Math.min(MAX_SHARED_JOBS, room)
    if (fits) room -= jobs
    ;(fits ? small : large).push(id)
  }
  const { ended } =
    small.length === 0 ? { ended: 0 } : await endWaiting(db, 'delivery.event_id = any($1::bigint[])', [small, '0'])
  if (large.length > 0) {
    await db.query('insert into withdrawal (event_id) select unnest($1::bigint[])', [large])
  }
  const isLast = events.length < EVENTS_PER_PAGE
  await advance(db, withdrawal, isLast ? null : (events.at(-1)?.id ?? null))
  return { ended, isLast }
}

/** `cursor` null: it is done. */
async function advance(db: Queryable, { id }: Withdrawal, cursor: string | null): Promise<void> {
  if (cursor === null) await db.query('delete from withdrawal where id = $1', [id])
  else await db.query('update withdrawal set cursor = $2, turn_at = now() where id = $1', [id, cursor])
}

async function endWaiting(
  db: Queryable,
  which: string,
  params: unknown[],
): Promise<{ count: number; last: string | null; ended: number }> {
  // Those whose turn has not come first, so that what gets its turn meanwhile is found in the queue. In two statements:
  // who ends a head waits for its thread, and must hold nothing that passing on a turn waits for.
  const [waiting] = await db.query<PageRow>(endWaitingFor(which), params)
  if (!waiting) throw new Error('The database gave no answer')
  if (waiting.withdrawn === 0) return waiting
  const [queued] = await db.query<PageRow>(endQueued(which), params)
  return { ...waiting, ended: waiting.ended + (queued?.ended ?? 0) }
}

type PageRow = { count: number; withdrawn: number; last: string | null; ended: number }

const withdrawnOf = (which: string): string => `
with page as materialized (
  select delivery.id, delivery.channel, delivery.company_id, delivery.campaign_id, delivery.lane, delivery.priority,
    delivery.run_at, delivery.thread, delivery.state,
    ${IS_CANCELLED} as is_cancelled, ${IS_SUPERSEDED} as is_superseded
  from delivery join event on event.id = delivery.event_id
  where ${which} and delivery.id > $2
  order by delivery.id limit ${PAGE_SIZE}
),
withdrawn as materialized (
  select * from page where state = ${STATES.ready} and (is_cancelled or is_superseded)
)`

/** Of the deliveries in `freed`. By arrays of ids: a plan that was made for small tables must not read large ones. */
const ENDED = `
cancelled as (
  update delivery set state = ${STATES[cancel.to.state]}, finished_at = now(), reason = 'cancelled'
  where id = any(array(select id from withdrawn join freed using (id) where is_cancelled))
    and state = ${STATES[cancel.from.state]}
  returning id
),
superseded as (
  update delivery set state = ${STATES[supersede.to.state]}, finished_at = now(), reason = 'superseded'
  where id = any(array(select id from withdrawn join freed using (id) where not is_cancelled))
    and state = ${STATES[supersede.from.state]}
  returning id
)
select (select max(id) from page) as last, (select count(*)::integer from page) as count,
  (select count(*)::integer from withdrawn) as withdrawn,
  (select count(*)::integer from cancelled) + (select count(*)::integer from superseded) as ended`

const endWaitingFor = (which: string): string => `${withdrawnOf(which)},
locked as materialized (
  select ctid, delivery_id as id from thread_waiting
  where delivery_id = any(array(select id from withdrawn where thread is not null))
  order by key, place
  for update
),
unthreaded as (
  delete from thread_waiting where ctid = any(array(select ctid from locked))
),
freed as materialized (select id from locked),
${ENDED}`

const endQueued = (which: string): string => `${withdrawnOf(which)},
freed as materialized (
  select queued.ctid, withdrawn.id from withdrawn cross join lateral (
    select ctid from ready
    where ready.channel = (select number from channel where name = withdrawn.channel)
      and flow in (0, flow_of(withdrawn.company_id, withdrawn.campaign_id))
      and lane in (withdrawn.lane, ${LANES.retry}) and priority = withdrawn.priority and run_at = withdrawn.run_at
      and id = withdrawn.id
    for update skip locked
  ) as queued
),
unqueued as (
  delete from ready where ctid = any(array(select ctid from freed))
),
${ENDED}`

/** $1 the withdrawal of a key. Its members are parameters, not a join: the page is read from the index in its order. */
const MARK_EVENTS = `
with work as materialized (
  select * from withdrawal where id = $1
),
page as materialized (
  select id, jobs_count from event
  where company_id = (select company_id from work) and cancellation_key = (select cancellation_key from work)
    and id > (select cursor from work) and created_at <= (select until from work)
  order by id limit ${EVENTS_PER_PAGE}
),
marked as (
  update event set cancelled_at = (select until from work)
  where id = any(array(select id from page)) and cancelled_at is null
)
select id, jobs_count from page order by id`
