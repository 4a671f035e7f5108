import type { Db, Queryable } from '../db/db.ts'
import { acceptEvents } from './accept-events.ts'
import type { Accepted, EventRows } from './event-rows.ts'
import { findKeys, type KeyRecord } from './idempotency.ts'

/**
 * Stores an event with a dedupe key, or answers with the one that has the key already; its own keys stand for that one
 * then, so that it is answered alike when it comes again. Null, and nothing is stored, when one of its keys is known.
 */
export async function storeDeduped(db: Db, rows: EventRows): Promise<Accepted | null> {
  const known = new Error('one of its keys is known')
  try {
    return await db.transaction(async (tx) => {
      const { ids } = await acceptEvents(tx, [rows], { mayRepeat: true })
      if (ids.has(rows.id)) return { event_id: rows.event_id, jobs_count: rows.jobs_count, isReplay: false }
      const duplicate = (await answerDuplicates(tx, [rows])).get(rows.id)
      // Nothing may stay of it, and another of its keys could.
      if (!duplicate) throw known
      return duplicate
    })
  } catch (error) {
    if (error === known) return null
    throw error
  }
}

/** The event that has the dedupe key at this moment, as the answer to another one; null when there is none. */
export async function findDuplicate(db: Queryable, { dedupe }: EventRows): Promise<Accepted | null> {
  const [first] = await db.query<{ public_event_id: string; jobs_count: number }>(
    'select public_event_id, coalesce(jobs_count, 0) as jobs_count from dedupe where key = $1',
    [dedupe?.key],
  )
  return first
    ? { event_id: first.public_event_id, jobs_count: first.jobs_count, isReplay: false, deduplicated: true }
    : null
}

/** Of events that were not stored, the answers of those whose dedupe key another event has. */
export async function answerDuplicates(tx: Queryable, rows: readonly EventRows[]): Promise<Map<string, Accepted>> {
  const answers = new Map<string, Accepted>()
  const candidates = rows.filter((row) => row.dedupe)
  if (candidates.length === 0) return answers

  const keys = await findKeys(
    tx,
    candidates.flatMap((row) => row.keys),
  )
  for (const row of candidates) {
    // Keys of its own were new: so it was the dedupe key that was taken.
    const isDuplicate = keys.every((record) => !row.keys.includes(record.key) || record.row_id === row.id)
    if (!isDuplicate) continue
    const [first] = await tx.query<{ public_event_id: string; jobs_count: number }>(POINT_AT_FIRST, [
      row.dedupe?.key,
      row.keys,
    ])
    if (!first) throw new Error('a dedupe key was taken, and is gone within one transaction')
    const { public_event_id: eventId, jobs_count: jobs } = first
    answers.set(row.id, { event_id: eventId, jobs_count: jobs, isReplay: false, deduplicated: true })
  }
  return answers
}

/** The answer that is kept under a key. */
export const replayOf = ({ event_id, jobs_count, answer }: KeyRecord): Accepted => ({
  event_id: event_id ?? '',
  jobs_count: jobs_count ?? 0,
  isReplay: true,
  ...(answer?.deduplicated === true && { deduplicated: true }),
})

const POINT_AT_FIRST = `
with first as (
  select event_id, public_event_id, coalesce(jobs_count, 0) as jobs_count from dedupe where key = $1
),
pointed as (
  update idem set event_id = first.event_id, answer = '{"deduplicated": true}' from first where idem.key = any($2::uuid[])
)
select public_event_id, jobs_count from first`
