import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../core/errors.ts'
import { oneAtATime } from '../core/one-at-a-time.ts'
import type { Db, Queryable, Send } from '../db/db.ts'
import { acceptEvents, isKeyKnown } from './accept-events.ts'
import { acceptStatement } from './accept-statement.ts'
import { collapseKeysOf } from './coalesced-accepts.ts'
import { answerDuplicates, replayOf } from './dedupe.ts'
import { waitsForNobody, type Accepted, type BatchKey, type EventRows } from './event-rows.ts'
import { findKeys, keepBatchKey, type KeyRecord } from './idempotency.ts'

type Batch = Pick<BatchKey, 'key' | 'bodyHash'> | null
type BatchAnswer = { events: Accepted[]; isReplay: boolean }

const batchKeyOf = (
  batch: NonNullable<Batch>,
  [first]: readonly EventRows[],
  events: readonly Pick<Accepted, 'event_id' | 'jobs_count' | 'deduplicated'>[],
): BatchKey => ({
  ...batch,
  rowId: first?.id ?? '0',
  answer: {
    events: events.map(({ event_id, jobs_count, deduplicated }) => ({
      event_id,
      jobs_count,
      ...(deduplicated && { deduplicated }),
    })),
  },
})

/** A list of no more is stored by one statement. */
const LONG = 100
/** Of a longer one, few are stored at first, so that the database begins at once; then more each time, as statements cost. */
const FIRST_PIECE = 20
const LARGEST_PIECE = 160

/** Of two lists with the same events, each would refuse the other for what it has planned so far. */
const alone = oneAtATime()

/** `rows` grows as `planned` is taken from; what is repeated finds there what was planned. */
export type PlannedList = { count: number; planned: Iterable<EventRows>; rows: readonly EventRows[] }

/** Something came before, or only the database can tell. */
class MayBeKnown extends Error {}

/**
 * Stores a list of `count` events as a whole or not at all; of those that came before with the same body, the first answer
 * is given again. A batch with a key is itself replayed. The database stores the first events of a long list while the next
 * ones are taken from `planned`; what that throws undoes all. Errors: `mismatch`, `conflict`, naming the item.
 */
export async function storeBatch(db: Db, { count, planned, rows }: PlannedList, batch: Batch): Promise<BatchAnswer> {
  try {
    if (count > LONG) {
      await db.pipeline((send) =>
        alone(() => storeInPieces(send, { planned: rows.length > 0 ? rows : planned, rows }, batch)),
      )
    } else {
      await storeTogether(db, [...planned], batch)
    }
    return { events: rows.map(newAnswer), isReplay: false }
  } catch (error) {
    if (!(error instanceof MayBeKnown || isKeyKnown(error))) throw error
  }
  return db.transaction((tx) => storeKnown(tx, rows, batch))
}

async function storeTogether(db: Queryable, rows: readonly EventRows[], batch: Batch): Promise<void> {
  if (withoutSharedCollapseKeys(rows).length !== 1 || rows.some(({ dedupe }) => dedupe)) throw new MayBeKnown()
  await acceptEvents(db, rows, { mayRepeat: false, ...(batch && { batchKey: batchKeyOf(batch, rows, rows) }) })
}

/** What locks more than its own keys stays together and goes last, so that all locks are taken in one order. */
async function storeInPieces(send: Send, { planned, rows }: Omit<PlannedList, 'count'>, batch: Batch): Promise<void> {
  const store = (events: readonly EventRows[], batchKey?: BatchKey): void => {
    const { sql, params } = acceptStatement({ events, mayRepeat: false, ...(batchKey && { batchKey }) })
    send(sql, params)
  }
  const others: EventRows[] = []
  let piece: EventRows[] = []
  let size = FIRST_PIECE
  for (const row of planned) {
    const among = waitsForNobody(row) ? piece : others
    among.push(row)
    if (piece.length < size) continue
    store(piece)
    await nextTurn() // others are not kept waiting until the last one is planned
    size = Math.min(size + FIRST_PIECE, LARGEST_PIECE)
    piece = []
  }
  if (others.some(({ dedupe }) => dedupe)) throw new MayBeKnown()
  for (const group of withoutSharedCollapseKeys(others)) store(group)
  if (piece.length > 0 || batch) store(piece, batch ? batchKeyOf(batch, rows, rows) : undefined)
}

const newAnswer = ({ event_id, jobs_count }: EventRows): Accepted => ({ event_id, jobs_count, isReplay: false })

async function storeKnown(tx: Queryable, rows: readonly EventRows[], batch: Batch): Promise<BatchAnswer> {
  const known = batch && (await findKeys(tx, [batch.key]))[0]
  if (known) return replayBatch(known, batch.bodyHash)

  const events = await storeOrReplay(tx, rows)
  if (batch && !(await keepBatchKey(tx, batchKeyOf(batch, rows, events)))) throw inProgress()
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
