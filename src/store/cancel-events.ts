import { STATES } from '../core/delivery.ts'
import { CHANGES } from '../core/delivery-life.ts'
import type { Queryable } from '../db/db.ts'

const { from, to } = CHANGES.cancel

/**
 * Cancels events by row id: what waits is cancelled now, what a worker holds but has not begun to send is refused to it
 * later (`Queue.start`), what is final stays. Returns how many waiting deliveries were cancelled. Repeating is harmless.
 */
export async function cancelEvents(db: Queryable, companyId: string, rowIds: readonly string[]): Promise<number> {
  const rows = await db.query<{ count: number }>(
    `with cancelled as (
       update event set cancelled_at = coalesce(cancelled_at, now())
       where id = any($1::bigint[]) and company_id = $2 returning id
     ),
     waiting as (
       delete from ready using delivery
       where delivery.event_id in (select id from cancelled)
         and ready.channel = (select number from channel where name = delivery.channel)
         and ready.flow in (0, flow_of(delivery.company_id, delivery.campaign_id))
         and ready.lane in (delivery.lane, 2) and ready.priority = delivery.priority
         and ready.run_at = delivery.run_at and ready.id = delivery.id
       returning ready.id
     ),
     finished as (
       update delivery set state = ${STATES[to.state]}, finished_at = now(), reason = 'cancelled'
       where id in (select id from waiting) and state = ${STATES[from.state]} returning id
     )
     select count(*)::integer as count from finished`,
    [rowIds, companyId],
  )
  return rows[0]?.count ?? 0
}

/** Row ids of a company's events with this cancellation key that are not cancelled yet, newest first. */
export async function findByCancellationKey(db: Queryable, companyId: string, key: string): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select id from event where company_id = $1 and cancellation_key = $2 and cancelled_at is null
     order by id desc limit 1000`,
    [companyId, key],
  )
  return rows.map((row) => row.id)
}
