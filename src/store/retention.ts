import { isFinal, STATES } from '../core/delivery.ts'
import { CHANGES } from '../core/delivery-life.ts'
import type { Queryable } from '../db/db.ts'

/*
 * Each deletes at most `limit` rows that are older than `days`, and returns how many, so that no statement takes long or
 * locks much; rows that somebody else holds are left for the next time.
 */
type DeleteOld = (db: Queryable, days: number, limit: number) => Promise<number>

const deleting =
  (sql: string): DeleteOld =>
  async (db, days, limit) =>
    (await db.query(sql, [days, limit])).length

const givenUp = CHANGES['give up a doubt']
/** States of which something is yet to come. */
const OPEN_STATES = Object.values(STATES).filter((state) => !isFinal(state))
const CUT = 'now() - make_interval(days => $1)'

/** Dead letters that nobody dealt with: failed ones stay failed, and uncertain ones become so. */
export const endOldDeadLetters = deleting(
  `with old as (
     select delivery_id from dead where at < ${CUT} order by at limit $2 for update skip locked
   ),
   settled as (
     update delivery set state = ${STATES[givenUp.to.state]}, finished_at = now(), reason = 'nobody settled it'
     from old where delivery.id = delivery_id and delivery.state = ${STATES[givenUp.from.state]}
   )
   delete from dead using old where dead.delivery_id = old.delivery_id returning dead.delivery_id`,
)

/** Why people were left out of events that are gone. */
export const deleteOldTraces = deleting(
  `delete from trace where ctid = any(array(
     select ctid from trace where event_id < row_id_at(${CUT}) order by event_id limit $2 for update skip locked))
   returning event_id`,
)

/** Of inbox and history. One that came back lately, by its collapse key or from a snooze, is not old. */
export const deleteOldNotifications = deleting(
  `delete from notification where id = any(array(
     select id from notification
     where id < row_id_at(${CUT}) and event_id < row_id_at(${CUT}) and shown_at < ${CUT}
       and (snoozed_until is null or snoozed_until < ${CUT})
     order by id limit $2 for update skip locked))
   returning id`,
)

/** Mail that was kept instead of sent. */
export const deleteOldMail = deleting(
  `delete from outbox_mail where id = any(array(
     select id from outbox_mail where at < ${CUT} order by id limit $2 for update skip locked))
   returning id`,
)

/** Replays of dead letters that are over. */
export const deleteOldReplays = deleting(
  `delete from replay where id = any(array(
     select id from replay where finished_at < ${CUT} order by id limit $2 for update skip locked))
   returning id`,
)

/**
 * Which event was the last under its collapse key. A day older than anything that waits, so that nothing superseded comes
 * back.
 */
export const deleteOldCollapses = deleting(
  `delete from collapse where ctid = any(array(
     select ctid from collapse
     where event_id < least(row_id_at(${CUT}), (select min(id) from live_delivery) - (86400000::bigint << 20))
     limit $2 for update skip locked))
   returning event_id`,
)

/** Dedupe keys whose window is over, so many days ago. */
export const deleteOldDedupes = deleting(
  `delete from dedupe where key = any(array(
     select key from dedupe where until < ${CUT} order by until limit $2 for update skip locked))
   returning key`,
)

/** Cancelled keys, when everything of them is marked. */
export const deleteOldCancellations = deleting(
  `delete from cancellation where ctid = any(array(
     select ctid from cancellation
     where at < ${CUT} and not exists (
       select from withdrawal where withdrawal.company_id = cancellation.company_id
         and withdrawal.cancellation_key = cancellation.cancellation_key)
     limit $2 for update skip locked))
   returning at`,
)

// Processes with a wrong clock make rows of weeks that have no partition. Deliveries first, then what belongs to them.
export const deleteStrayDeliveries = deleting(
  `delete from delivery_other where id = any(array(
     select id from delivery_other
     where id < row_id_at(${CUT}) and state not in (${OPEN_STATES.join(', ')})
       and not exists (select from dead where dead.delivery_id = delivery_other.id)
     order by id limit $2 for update skip locked))
   returning id`,
)

export const deleteStrayAttempts = deleting(
  `delete from attempt_log_other where (delivery_id, n) in (
     select delivery_id, n from attempt_log_other
     where delivery_id < row_id_at(${CUT})
       and not exists (select from delivery where delivery.id = attempt_log_other.delivery_id)
     order by delivery_id, n limit $2 for update skip locked)
   returning delivery_id`,
)

export const deleteStrayEvents = deleting(
  `delete from event_other where id = any(array(
     select id from event_other
     where id < row_id_at(${CUT})
       and not exists (select from delivery where delivery.event_id = event_other.id)
     order by id limit $2 for update skip locked))
   returning id`,
)

/** How many parts the idempotency keys are stored in. */
export const KEY_PARTS = 16

/**
 * Deletes keys older than `days` on some pages of one part; null beyond its last page. An event's own id is known for as
 * long as the event.
 */
export async function deleteOldKeys(
  db: Queryable,
  days: number,
  { part, fromPage, pages }: { part: number; fromPage: number; pages: number },
): Promise<number | null> {
  const [row] = await db.query<{ deleted: number | null }>(`select delete_old_keys($2, $3, $4, ${CUT}) as deleted`, [
    days,
    part,
    fromPage,
    pages,
  ])
  return row?.deleted ?? null
}
