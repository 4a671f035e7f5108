import { hash } from 'node:crypto'
import type { JsonObject } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'
import type { BatchKey } from './event-rows.ts'

/** What is known under an idempotency key. `event` is null for the key of a batch. */
export type KeyRecord = {
  key: string
  body_hash: string
  answer: JsonObject | null
  row_id: string
  event_id: string | null
  jobs_count: number | null
}

/** The stored form of a key: a hash, so that any text fits a uuid and companies cannot meet in one key. */
export function idempotencyKey(
  kind: 'event' | 'request' | 'batch' | 'dedupe' | 'thread',
  companyId: string,
  key: string,
): string {
  const hex = hash('sha256', JSON.stringify([kind, companyId, key])).slice(0, 32)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The records of those keys that exist, in no particular order. */
export const findKeys = (db: Queryable, keys: readonly string[]): Promise<KeyRecord[]> =>
  db.query<KeyRecord>(
    `select idem.key, encode(idem.body_hash, 'hex') as body_hash, idem.answer, idem.event_id as row_id, event.event_id,
       event.jobs_count
     from idem left join event on event.id = idem.event_id
     where idem.key = any($1::uuid[])`,
    [keys],
  )

/** Takes a batch's key with its answer; false when the key exists already. `rowId` is any event of the batch. */
export async function keepBatchKey(db: Queryable, batch: BatchKey): Promise<boolean> {
  const rows = await db.query(
    `insert into idem (key, event_id, body_hash, answer) values ($1, $2, decode($3, 'hex'), $4::text::jsonb)
     on conflict do nothing returning key`,
    [batch.key, batch.rowId, batch.bodyHash, JSON.stringify(batch.answer)],
  )
  return rows.length > 0
}
