import { STATES } from '../core/delivery.ts'
import { idOfUuid } from '../core/id.ts'
import type { Queryable } from '../db/db.ts'
import type { Page, Violation } from './check-invariants.ts'
import { idempotencyKey } from './idempotency.ts'

/** An event whose sender was told that it is accepted. */
export type AnsweredEvent = { companyId: string; eventId: string; jobsCount: number | null }

/** A delivery, and how often a receiver took it. */
export type Received = { id: string; copies: number }

/**
 * What receivers took and our books cannot explain. A delivery accounts for one copy if it was sent, one for each attempt
 * whose outcome nobody could know, and one that may be on its way now. Give at most some ten thousand at a time.
 */
export async function unaccountedCopies(
  tx: Queryable,
  received: readonly Received[],
): Promise<{ unknown: Violation[]; doubled: Violation[] }> {
  const rows = await tx.query<{ id: string; copies: number; allowed: string; state: number | null }>(UNACCOUNTED, [
    received.map(({ id }) => id),
    received.map(({ copies }) => copies),
  ])
  const violation = ({ id, copies, allowed, state }: (typeof rows)[number]): Violation => ({
    id,
    detail: state === null ? 'no such delivery' : `state ${state}: received ${copies} times, ${allowed} accounted for`,
  })
  return {
    unknown: rows.filter(({ allowed }) => allowed === '0').map(violation),
    doubled: rows.filter(({ allowed }) => allowed !== '0').map(violation),
  }
}

const UNACCOUNTED = `
with received as (
  select * from unnest($1::bigint[], $2::integer[]) as r(id, copies)
),
begun as materialized (
  select open.id from lease, unnest(lease.ids) as open(id)
  where lease.started or exists (select from intent where lease_id = lease.id and open.id = any(intent.ids))
),
explained as (
  select received.id, copies, state,
    case when state = ${STATES.sent} and reason is distinct from 'settled as sent' then 1 else 0 end
      + (select count(*) from attempt_log where delivery_id = received.id and verdict = 'uncertain')
      + case when exists (select from begun where begun.id = received.id) then 1 else 0 end as allowed
  from received left join delivery on delivery.id = received.id
)
select * from explained where copies > allowed order by id`

/** Row ids of the page's deliveries that went over these channels and were recorded as sent until then, by us. */
export async function sentUntil(
  tx: Queryable,
  { from, until }: Page,
  channels: readonly string[],
  at: string,
): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(
    `select id from delivery
     where id > $1 and id <= $2 and state = ${STATES.sent} and channel = any($3::text[]) and finished_at <= $4
       and reason is distinct from 'settled as sent'
     order by id`,
    [from, until, channels, at],
  )
  return rows.map(({ id }) => id)
}

/** Answered events that are not there, or have another number of jobs than was said. At most a thousand at a time. */
export async function missingEvents(tx: Queryable, events: readonly AnsweredEvent[]): Promise<Violation[]> {
  return tx.query<Violation>(MISSING, [
    events.map(({ companyId }) => companyId),
    events.map(({ eventId }) => eventId),
    events.map(({ companyId, eventId }) => idempotencyKey('event', companyId, eventId)),
    events.map(({ eventId }) => idOfUuid(eventId)),
    events.map(({ jobsCount }) => jobsCount),
  ])
}

const MISSING = `
with answered as (
  select * from unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[], $5::integer[])
    as a(company_id, event_id, key, row_id, jobs_count)
)
select answered.event_id as id, case when event.id is null then 'it was answered with 202 and is not there'
  else format('answered with %s jobs, planned %s', answered.jobs_count, coalesce(event.jobs_count::text, 'none yet')) end
  as detail
from answered left join idem using (key)
left join event on event.id = coalesce(idem.event_id, row_id)
  and event.company_id = answered.company_id and event.event_id = answered.event_id
where event.id is null or answered.jobs_count <> event.jobs_count
order by answered.event_id`

/** The database's time. */
export async function databaseTime(tx: Queryable): Promise<string> {
  const [row] = await tx.query<{ at: string }>('select clock_timestamp() as at')
  if (!row) throw new Error('The database gave no answer')
  return row.at
}

/** The smallest row id of a time: so long before now. */
export async function rowIdBefore(tx: Queryable, seconds: number): Promise<string> {
  const [row] = await tx.query<{ id: string }>('select row_id_at(now() - make_interval(secs => $1)) as id', [seconds])
  return row?.id ?? '0'
}
