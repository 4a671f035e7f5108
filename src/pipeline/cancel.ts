import type { Ports } from '../ports.ts'
import { cancelEvents, findByCancellationKey } from '../store/cancel-events.ts'
import { eventById } from '../store/find-event.ts'

/** Cancels one event. Throws `not-found` when this company has no such event. */
export async function cancelEvent({ db }: Pick<Ports, 'db'>, companyId: string, eventId: string): Promise<number> {
  const event = await eventById(db, companyId, eventId)
  return cancelEvents(db, companyId, [event.row_id])
}

/** Cancels all events with this `cancellation_key`. Returns how many events and waiting deliveries that were. */
export async function cancelByKey(
  { db }: Pick<Ports, 'db'>,
  companyId: string,
  key: string,
): Promise<{ events: number; deliveries: number }> {
  const total = { events: 0, deliveries: 0 }
  for (;;) {
    const rowIds = await findByCancellationKey(db, companyId, key)
    if (rowIds.length === 0) return total
    total.events += rowIds.length
    total.deliveries += await cancelEvents(db, companyId, rowIds)
  }
}
