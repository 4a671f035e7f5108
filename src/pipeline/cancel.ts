import type { Ports } from '../ports.ts'
import { cancelKey, cancelOne } from '../store/cancel-events.ts'
import { eventById } from '../store/find-event.ts'

/**
 * Cancels one event. Returns how many of its deliveries were waiting, or null when they are too many to be counted at
 * once. Throws `not-found` when this company has no such event.
 */
export async function cancelEvent(
  { db }: Pick<Ports, 'db'>,
  companyId: string,
  eventId: string,
): Promise<number | null> {
  const event = await eventById(db, companyId, eventId)
  return cancelOne(db, companyId, event.row_id)
}

/**
 * Cancels all events that were accepted with this `cancellation_key` until now. Returns how many events and waiting
 * deliveries that were; nulls when they are too many to be counted at once.
 */
export const cancelByKey = (
  { db }: Pick<Ports, 'db'>,
  companyId: string,
  key: string,
): Promise<{ events: number | null; deliveries: number | null }> => cancelKey(db, companyId, key)
