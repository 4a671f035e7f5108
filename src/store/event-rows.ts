import { laneOf, type Level } from '../core/event.ts'
import type { JsonObject } from '../core/json.ts'
import type { Place } from '../queue/queue.ts'

/** One planned event as rows to be. Ids are row ids; `keys` are hashes that must never have been seen before. */
export type EventRows = {
  id: string
  keys: string[]
  /** Kept with the keys; empty without any. */
  body_hash: string
  company_id: string
  event_id: string
  type: string
  event_type_id: string
  payload: JsonObject
  jobs_count: number
  lane: number
  priority: number
  cancellation_key: string | null
  /** Whatever was accepted under it before is superseded, for the same recipients. */
  collapse_key: string | null
  /** Hash of the business key: within the window only one event of it is stored. */
  dedupe: { key: string; window_seconds: number } | null
  /** Those that are shown as the event is accepted, in its own words; the others are written when they are. */
  notifications: { id: string; user_id: string; level: Level; is_read: boolean; collapse_key: string | null }[]
  deliveries: {
    id: string
    notification_id: string
    user_id: string
    channel: string
    send_after: string | null
    expires_at: string | null
    time_to_live_seconds: number | null
    is_inbox: boolean
    /** Hash of company, user, channel and ordering key: those of one thread are sent one after another. */
    thread: string | null
  }[]
  traces: { user_id: string | null; channel: string | null; reason: string }[]
}

/** Storing it takes no lock but that of its own keys: no inbox, no place, no thread and no business key of others. */
export const waitsForNobody = ({ notifications, collapse_key, dedupe, deliveries }: EventRows): boolean =>
  notifications.length === 0 &&
  collapse_key === null &&
  dedupe === null &&
  deliveries.every(({ thread }) => thread === null)

/** Deliveries that are stored as claimed already, by the process that accepts them: each with the lease it is under. */
export type Instant = {
  workerId: string
  leaseSeconds: number
  deliveries: { id: string; leaseId: string; isStarted: boolean }[]
}

/** A batch's own key with the answer that belongs to it; `rowId` is any event of the batch. */
export type BatchKey = { key: string; rowId: string; bodyHash: string; answer: JsonObject }

/**
 * What the caller is told. `isReplay`: the event came before; `deduplicated`: one with its dedupe key did, and that is the
 * one which is named.
 */
export type Accepted = { event_id: string; jobs_count: number; isReplay: boolean; deduplicated?: true }

/** Where their deliveries wait, but for those that are not due yet: workers are to be told. */
export function placesOf(events: readonly Pick<EventRows, 'lane' | 'deliveries'>[]): Place[] {
  const places = new Map<string, Place>()
  for (const { lane, deliveries } of events) {
    for (const { channel, send_after: sendAfter } of deliveries) {
      if (sendAfter === null) places.set(`${lane} ${channel}`, { channel, lane: laneOf(lane) })
    }
  }
  return [...places.values()]
}
