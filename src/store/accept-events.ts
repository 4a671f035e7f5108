import type { Queryable } from '../db/db.ts'
import { acceptStatement, type AcceptInput } from './accept-statement.ts'
import type { EventRows } from './event-rows.ts'

/** The place that a notification got in its inbox. A later event of the same collapse key keeps the first one's id. */
export type InboxPlace = { id: string; seq: string; shown_at: string }

export type StoredEvents = {
  /** Row ids of the events that were stored; the others had a key that exists already. */
  ids: Set<string>
  placeOf: (eventId: string, userId: string) => InboxPlace | undefined
}

/** One of the keys is known, so nothing was stored. */
export const isKeyKnown = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  error.code === UNIQUE_VIOLATION &&
  'table' in error &&
  String(error.table).startsWith('idem')

const UNIQUE_VIOLATION = '23505'

/**
 * Stores events with their idempotency keys, notifications, deliveries and queue rows in one statement. With `mayRepeat`,
 * of an event with a known key nothing is stored but possibly another of its keys, so events with several keys must run
 * in a transaction that rolls back. Without it a known key fails the whole statement (`isKeyKnown`).
 *
 * No two notifications of one call may share (company, user, collapse_key): a statement updates a row once.
 */
export async function acceptEvents(
  db: Queryable,
  events: readonly EventRows[],
  options: Omit<AcceptInput, 'events'>,
): Promise<StoredEvents> {
  // Of an event whose dedupe key is taken nothing is stored either.
  const mayRepeat = options.mayRepeat || events.some(({ dedupe }) => dedupe !== null)
  const { sql, params } = acceptStatement({ events, ...options, mayRepeat })
  const rows = await db.query<{ event_id: string | null; user_id?: string | null } & InboxPlace>(sql, params)
  const places = new Map<string, InboxPlace>()
  for (const { event_id, user_id, ...place } of rows) if (user_id) places.set(`${event_id} ${user_id}`, place)
  return {
    ids: new Set(mayRepeat ? rows.flatMap((row) => row.event_id ?? []) : events.map(({ id }) => id)),
    placeOf: (eventId, userId) => places.get(`${eventId} ${userId}`),
  }
}
