import { AppError } from '../core/errors.ts'
import { idOfUuid } from '../core/id.ts'
import type { JsonObject } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'
import { findKeys, idempotencyKey } from './idempotency.ts'
import { CANCELLED_AT } from './withdrawn.ts'

export type StoredEvent = {
  row_id: string
  event_id: string
  type: string
  type_version: number
  payload: JsonObject
  jobs_count: number | null
  created_at: string
  cancelled_at: string | null
}

/** The company's event with this public id: the producer's own, or the one made for it. Throws `not-found`. */
export async function eventById(db: Queryable, companyId: string, eventId: string): Promise<StoredEvent> {
  const [record] = await findKeys(db, [idempotencyKey('event', companyId, eventId)])
  const rowId = record?.row_id ?? idOfUuid(eventId)
  const rows =
    rowId === null
      ? []
      : await db.query<StoredEvent>(
          `select event.id as row_id, event.event_id, event.type, event_type.version as type_version, payload,
             jobs_count, event.created_at, ${CANCELLED_AT} as cancelled_at
           from event join event_type on event_type.id = event.event_type_id
           where event.id = $1 and event.company_id = $2 and event.event_id = $3`,
          [rowId, companyId, eventId],
        )
  if (!rows[0]) throw new AppError('not-found', 'There is no such event')
  return rows[0]
}
