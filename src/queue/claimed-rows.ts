import type { JsonObject } from '../core/json.ts'
import type { ClaimedDelivery, Place } from './queue.ts'
import type { Taken } from './turns.ts'

type TookRow = [Taken['priority'], Taken['flow'], Taken['count'], Taken['last']]

/** What a claim answers: the first row bears the last two columns, all others are deliveries. */
export type ClaimedRow = {
  id: string
  company_id: string
  user_id: string
  notification_id: string
  /** Null: none, as for all that follow. */
  attempt: number | null
  crashes: number | null
  vars: JsonObject | null
  pinned_template_id: string | null
  event_row_id: string | null
  /** Null: that of the row before. */
  event_type_id: string | null
  event: ClaimedDelivery['event'] | null
  is_expired: true | null
  is_cancelled: true | null
  is_superseded: true | null
  is_ordered: true | null
  is_suspect: true | null
  took: TookRow[] | null
  recorded: string[] | null
}

export const takenOf = ([first]: readonly ClaimedRow[]): Taken[] =>
  (first?.took ?? []).map(([priority, flow, count, last]) => ({ priority, flow, count, last }))

export function claimedOf({ channel, lane }: Place, rows: readonly ClaimedRow[]): ClaimedDelivery[] {
  const deliveries: ClaimedDelivery[] = []
  let [event, typeId] = [null as ClaimedDelivery['event'] | null, '']
  for (const row of rows) {
    event = row.event ?? event
    typeId = row.event_type_id ?? typeId
    // Without an event of its own there is nothing to send.
    if (event === null || row.event_row_id === null) continue
    deliveries.push({
      id: row.id,
      company_id: row.company_id,
      user_id: row.user_id,
      channel,
      lane,
      notification_id: row.notification_id,
      attempt: row.attempt ?? 0,
      crashes: row.crashes ?? 0,
      is_expired: row.is_expired ?? false,
      is_cancelled: row.is_cancelled ?? false,
      is_superseded: row.is_superseded ?? false,
      is_ordered: row.is_ordered ?? false,
      is_suspect: row.is_suspect ?? false,
      vars: row.vars,
      pinned_template_id: row.pinned_template_id,
      event,
      event_row_id: row.event_row_id,
      event_type_id: typeId,
    })
  }
  return deliveries
}
