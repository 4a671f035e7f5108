import { STATES } from '../core/delivery.ts'
import { CHANGES } from '../core/delivery-life.ts'
import { LANES } from '../core/event.ts'
import type { JsonObject } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'
import type { LetterKind } from './dead-letters.ts'
import { IS_CANCELLED } from './withdrawn.ts'

const SENDING_AGAIN = { failed: CHANGES['send again'], uncertain: CHANGES['send in spite of doubt'] }

/** `same`: the version of the template that it was rendered from before, where there is one. `current`: today's. */
export type TemplateChoice = 'same' | 'current'

export type Requeue = {
  kind: LetterKind
  template: TemplateChoice
  /** Merged over the event's data, for these deliveries alone. */
  data?: JsonObject
  /** Due one after another from this time on, at this rate; else now. */
  pace?: { from: string; perSecond: number }
}

/**
 * Puts dead letters back into the queue, in one statement; returns the ids of those that were. The others are no dead
 * letters of this kind any more, expired, or their event was cancelled. What they were made of stays as it was; the
 * attempts they may take start anew.
 */
export async function requeueLetters(
  db: Queryable,
  companyId: string,
  ids: readonly string[],
  { kind, template, data, pace }: Requeue,
): Promise<string[]> {
  const { from, to } = SENDING_AGAIN[kind]
  const rows = await db.query<{ id: string }>(
    `with locked as (
       select delivery_id from dead where delivery_id = any($2::bigint[]) and kind = $3 order by delivery_id for update
     ),
     placed as (
       select delivery_id, row_number() over (order by delivery_id) - 1 as place from locked
     ),
     revived as (
       update delivery set
         state = $8,
         attempts_before = attempt,
         crashes = 0,
         run_at = least(greatest(now(), $6::timestamptz) + place / $7::float8 * interval '1 second', expires_at),
         finished_at = null,
         reason = null,
         pinned_template_id = case when $4 = 'same' then template_id end,
         vars = case when $5::text is null then vars else coalesce(vars, '{}') || $5::text::jsonb end
       from placed, event
       where delivery.id = delivery_id and delivery.company_id = $1 and event.id = delivery.event_id
         and delivery.state = $9
         and not ${IS_CANCELLED} and (expires_at is null or expires_at > now())
       returning delivery.id, delivery.channel, delivery.priority, delivery.run_at
     ),
     unburied as (
       delete from dead using revived where dead.delivery_id = revived.id
     ),
     queued as (
       insert into ready (channel, lane, priority, run_at, id)
       select channel_number(channel), ${LANES.retry}, priority, run_at, id from revived
       on conflict do nothing
     )
     select id from revived order by id`,
    [
      companyId,
      ids,
      kind,
      template,
      data === undefined ? null : JSON.stringify(data),
      pace?.from ?? null,
      pace?.perSecond ?? 1e9,
      STATES[to.state],
      STATES[from.state],
    ],
  )
  return rows.map((row) => row.id)
}

/** A person found out what became of an uncertain delivery. False when it is not uncertain any more. */
export async function settleLetter(
  db: Queryable,
  companyId: string,
  id: string,
  outcome: 'sent' | 'failed',
): Promise<boolean> {
  const { from, to } = CHANGES[`settle as ${outcome}`]
  const rows = await db.query(
    `with settled as (
       update delivery set state = $3, finished_at = now(), reason = $4
       from dead
       where delivery.id = $2 and delivery.company_id = $1 and delivery.state = $5
         and dead.delivery_id = delivery.id
       returning delivery.id
     )
     delete from dead using settled where dead.delivery_id = settled.id returning delivery_id`,
    [companyId, id, STATES[to.state], `settled as ${outcome}`, STATES[from.state]],
  )
  return rows.length > 0
}

/** Takes a failed delivery off the list: it stays failed. False when it is not on it. */
export async function discardLetter(db: Queryable, companyId: string, id: string): Promise<boolean> {
  const rows = await db.query(
    `delete from dead using delivery
     where dead.delivery_id = $2 and dead.kind = $3 and delivery.id = dead.delivery_id and delivery.company_id = $1
     returning delivery_id`,
    [companyId, id, CHANGES.discard.from.state],
  )
  return rows.length > 0
}
