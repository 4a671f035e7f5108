import { LANES, type Lane } from '../src/core/event.ts'
import type { Db } from '../src/db/db.ts'

export type DeliveryOptions = {
  lane?: Lane
  priority?: number
  inSeconds?: number
  expiresInSeconds?: number
  channel?: string
}

/** Puts deliveries, each of an event of its own, into the queue; their ids in the order in which they were added. */
export async function addDeliveries(
  db: Db,
  nextId: () => string,
  count: number,
  { lane = 'p2p', priority = 1, inSeconds = 0, expiresInSeconds, channel = 'email' }: DeliveryOptions = {},
): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) {
    const [eventId, id] = [nextId(), nextId()]
    ids.push(id)
    await db.query(
      `with e as (
         insert into event (id, event_id, type, event_type_id, payload, lane, priority)
         values ($1::bigint, $1::bigint::text, 'job.done', 1, '{"type":"job.done","data":{}}', $3, $4)
       ),
       d as (
         insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, run_at, expires_at)
         values ($2, $1::bigint, 1, $5, 'anna', $3, $4, now() + make_interval(secs => $6),
           now() + make_interval(secs => $7))
         returning channel, lane, priority, run_at, id
       )
       insert into ready (channel, lane, priority, run_at, id)
       select channel_number(channel), lane, priority, run_at, id from d`,
      [eventId, id, LANES[lane], priority, channel, inSeconds, expiresInSeconds ?? null],
    )
  }
  return ids
}
