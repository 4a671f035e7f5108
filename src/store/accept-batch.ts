import { AppError } from '../core/errors.ts'
import type { Db, Queryable } from '../db/db.ts'
import { acceptEvents, isKeyKnown } from './accept-events.ts'
import { collapseKeysOf } from './coalesced-accepts.ts'
import { answerDuplicates, replayOf } from './dedupe.ts'
import type { Accepted, BatchKey, EventRows } from './event-rows.ts'
import { findKeys, keepBatchKey, type KeyRecord } from './idempotency.ts'

type Batch = Omit<BatchKey, 'answer'> | null
type BatchAnswer = { events: Accepted[]; isReplay: boolean }

const answerOf = (events: readonly Pick<Accepted, 'event_id' | 'jobs_count' | 'deduplicated'>[]) => ({
  events: events.map(({ event_id, jobs_count, deduplicated }) => ({
    event_id,
    jobs_count,
    ...(deduplicated && { deduplicated }),
  })),
})

/**
 * Stores a list of events as a whole or not at all; of those that came before with the same body, the first answer is
 * given again. A batch with a key is itself replayed. Errors: `mismatch`, `conflict`, naming the item.
 */
export async function storeBatch(db: Db, rows: readonly EventRows[], batch: Batch): Promise<BatchAnswer> {
  return (await storeNew(db, rows, batch)) ?? (await db.transaction((tx) => storeKnown(tx, rows, batch)))
}

/** Stores a batch in which nothing came before, in one statement; null, and nothing is stored, when something did. */
async function storeNew(db: Queryable, rows: readonly EventRows[], batch: Batch): Promise<BatchAnswer | null> {
  if (withoutSharedCollapseKeys(rows).length !== 1 || rows.some((row) => row.dedupe)) return null
  try {
    await acceptEvents(db, rows, {
      mayRepeat: false,
      ...(batch && { batchKey: { ...batch, answer: answerOf(rows) } }),
    })
    const events = rows.map(({ event_id, jobs_count }) => ({ event_id, jobs_count, isReplay: false }))
    return { events, isReplay: false }
  } catch (error) {
    if (isKeyKnown(error)) return null
    throw error
  }
}

async function storeKnown(tx: Queryable, rows: readonly EventRows[], batch: Batch): Promise<BatchAnswer> {
  const known = batch && (await findKeys(tx, [batch.key]))[0]
  if (known) return replayBatch(known, batch.bodyHash)

  const events = await storeOrReplay(tx, rows)
  if (batch && !(await keepBatchKey(tx, { ...batch, answer: answerOf(events) }))) throw inProgress()
  return { events, isReplay: false }
}

async function storeOrReplay(tx: Queryable, rows: readonly EventRows[]): Promise<Accepted[]> {
  const stored = new Set<string>()
  for (const group of withoutSharedCollapseKeys(rows)) {
    for (const id of (await acceptEvents(tx, group, { mayRepeat: true })).ids) stored.add(id)
  }
  const duplicates = await answerDuplicates(
    tx,
    rows.filter((row) => !stored.has(row.id)),
  )
  const known =
    stored.size === rows.length
      ? []
      : await findKeys(
          tx,
          rows.flatMap((row) => row.keys),
        )
  return rows.map((row, index) => {
    if (stored.has(row.id)) return { event_id: row.event_id, jobs_count: row.jobs_count, isReplay: false }
    const duplicate = duplicates.get(row.id)
    if (duplicate) return duplicate
    try {
      return replay(
        row,
        known.filter((record) => row.keys.includes(record.key)),
      )
    } catch (error) {
      throw itemError(index, error)
    }
  })
}

/** Events that would touch the same inbox row must go one after another. */
function withoutSharedCollapseKeys(rows: readonly EventRows[]): EventRows[][] {
  const groups: { rows: EventRows[]; keys: Set<string> }[] = []
  for (const row of rows) {
    const keys = collapseKeysOf(row)
    const index = groups.findLastIndex((group) => keys.some((key) => group.keys.has(key))) + 1
    const group = groups[index] ?? (groups[index] = { rows: [], keys: new Set() })
    group.rows.push(row)
    for (const key of keys) group.keys.add(key)
  }
  return groups.map((group) => group.rows)
}

/** The answer that an event got when it came first. */
export function replay(rows: EventRows, records: readonly KeyRecord[]): Accepted {
  const record = records[0]
  // The other request was rolled back, or its commit is not visible yet.
  if (!record || records.some((other) => other.event_id === null)) throw inProgress()
  if (records.some((other) => other.body_hash !== rows.body_hash)) throw mismatch()
  return replayOf(record)
}

/** The answer that a batch got when it came first. Error: `mismatch`. */
export function replayBatch(record: KeyRecord, bodyHash: string): BatchAnswer {
  if (record.body_hash !== bodyHash || !record.answer) throw mismatch()
  const events = record.answer.events as { event_id: string; jobs_count: number; deduplicated?: true }[]
  return { events: events.map((event) => ({ ...event, isReplay: true })), isReplay: true }
}

const mismatch = (): AppError =>
  new AppError('mismatch', 'This idempotency key or event id came before with another body; use a new one')

export const inProgress = (): AppError =>
  new AppError('conflict', 'The same event is being accepted at this moment; ask again', { retryAfterSeconds: 1 })

/** The same error, about one item of the list. */
export function itemError(index: number, error: unknown): unknown {
  if (!(error instanceof AppError) || error.code === 'unavailable') return error
  const fields = error.fields.map(({ field, message }) => ({ field: `events[${index}].${field}`, message }))
  return new AppError(error.code, `events[${index}]: ${error.message}`, {
    cause: error.cause,
    fields,
    retryAfterSeconds: error.retryAfterSeconds,
  })
}
