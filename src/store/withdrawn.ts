/*
 * Why a delivery must not be sent any more, though nobody has touched its row: conditions of a statement that has an
 * `event`. Whoever is about to send asks; an event without such a key costs no look anywhere.
 */

/** When an `event` was cancelled, by itself or with all others of its key; null: it was not. */
export const CANCELLED_AT = `coalesce(event.cancelled_at, case when event.cancellation_key is not null then (
    select at from cancellation where cancellation.company_id = event.company_id
      and cancellation.cancellation_key = event.cancellation_key and at >= event.created_at
  ) end)`

export const IS_CANCELLED = `(${CANCELLED_AT} is not null)`

/** Whether a later event has taken the place of the `event` for the user of the `delivery`. */
export const IS_SUPERSEDED = `coalesce(case when event.collapse_key is not null then (
    select collapse.event_id <> event.id from collapse where collapse.company_id = event.company_id
      and collapse.user_id = delivery.user_id and collapse.collapse_key = event.collapse_key
  ) end, false)`
