import { STATES, statusOf, type Status, type Withdrawn } from '../core/delivery.ts'
import { uuidOf } from '../core/id.ts'
import type { Queryable } from '../db/db.ts'
import { IS_CANCELLED, IS_SUPERSEDED } from './withdrawn.ts'

export type DeliveryStatus = {
  job_id: string
  notification_id: string
  user_id: string
  channel: string
  status: Status
  attempts_count: number
  /** When it is tried next, while it waits. */
  run_at: string | null
  /** An earlier one of its thread is not over. */
  waits_for_turn: boolean
  expires_at: string | null
  finished_at: string | null
  reason: string | null
  provider_id: string | null
  attempts: { n: number; at: string; verdict: string; message: string }[]
}

export type NotificationStatus = { id: string; user_id: string; is_seen: boolean; is_read: boolean }

/** The event's deliveries, oldest first, each with the attempts that did not end in SENT. */
export async function deliveriesOf(db: Queryable, rowId: string): Promise<DeliveryStatus[]> {
  const rows = await db.query<DeliveryRow>(
    `select delivery.id, notification_id, user_id, channel, state, attempt, run_at, expires_at, finished_at, reason,
       provider_id, ${WITHDRAWN} as withdrawn,
       (select max(stopped_until) from account_bucket
        where account_bucket.channel = delivery.channel and stopped_until > now()) as stopped_until,
       delivery.thread is not null and exists (select from thread_waiting where delivery_id = delivery.id) as waits_for_turn,
       exists (select from lease where until > now() and delivery.id = any(lease.ids)) as leased,
       (select coalesce(jsonb_agg(jsonb_build_object('n', n, 'at', at, 'verdict', verdict, 'message', message) order by n), '[]')
        from attempt_log where delivery_id = delivery.id) as attempts
     from delivery join event on event.id = delivery.event_id
     where delivery.event_id = $1 order by delivery.id limit 10000`,
    [rowId],
  )
  return rows.map(({ id, notification_id, state, attempt, leased, withdrawn, run_at, stopped_until, ...row }) => {
    const status = statusOf({ state, attempt, leased, withdrawn })
    const isWaiting = status === 'PENDING' || status === 'RETRYING'
    return {
      ...row,
      ...(status === 'SKIPPED' && withdrawn && { reason: withdrawn }),
      ...(isWaiting && stopped_until !== null && { reason: row.reason ?? 'account_stopped' }),
      job_id: uuidOf(id),
      notification_id: uuidOf(notification_id),
      status,
      attempts_count: attempt,
      // What was withdrawn stands in its thread until its turn comes, and waits for nothing.
      waits_for_turn: isWaiting && row.waits_for_turn,
      run_at: isWaiting && !row.waits_for_turn ? later(run_at, stopped_until) : null,
    }
  })
}

/** Why somebody who is about to send a delivery may not; null: he may, or its lease is over. */
export async function withdrawnBy(db: Queryable, deliveryId: string): Promise<Withdrawn | null> {
  const [row] = await db.query<{ withdrawn: Withdrawn | null }>(
    `select ${WITHDRAWN} as withdrawn from delivery join event on event.id = delivery.event_id where delivery.id = $1`,
    [deliveryId],
  )
  return row?.withdrawn ?? null
}

const WITHDRAWN = `case when delivery.state <> ${STATES.ready} then null when ${IS_CANCELLED} then 'cancelled'
  when ${IS_SUPERSEDED} then 'superseded' end`

/** Who sees the event in an inbox or history. A notification that a later event replaced is not among them. */
export async function notificationsOf(db: Queryable, rowId: string): Promise<NotificationStatus[]> {
  const rows = await db.query<NotificationStatus>(
    `select id, user_id, seen_at is not null as is_seen, read_at is not null as is_read
     from notification where event_id = $1 order by id limit 10000`,
    [rowId],
  )
  return rows.map((row) => ({ ...row, id: uuidOf(row.id) }))
}

/** Who, or which channel, was left out at planning, and why. */
export const tracesOf = (
  db: Queryable,
  rowId: string,
): Promise<{ user_id: string | null; channel: string | null; reason: string }[]> =>
  db.query('select user_id, channel, reason from trace where event_id = $1 order by at, user_id limit 10000', [rowId])

type DeliveryRow = Omit<DeliveryStatus, 'job_id' | 'status' | 'attempts_count'> & {
  id: string
  state: number
  attempt: number
  leased: boolean
  withdrawn: Withdrawn | null
  /** The provider of its channel takes nothing before. */
  stopped_until: string | null
}

/** Of two times as the database writes them. */
const later = (one: string | null, other: string | null): string | null =>
  one !== null && (other === null || Date.parse(one) > Date.parse(other)) ? one : other
