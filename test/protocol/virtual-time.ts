import type { Db } from '../../src/db/db.ts'
import { connect } from '../../src/db/pool.ts'
import { freshDatabase } from '../database.ts'

/** Where time begins: any moment will do that row ids of today do not lie after. */
const START_MS = Date.UTC(2040, 0, 1)

export type VirtualTime = {
  db: Db
  nowMs: () => number
  /** Nothing moves time but this. */
  pass: (seconds: number) => Promise<void>
  /** Back to the beginning. */
  reset: () => Promise<void>
  close: () => Promise<void>
}

/**
 * A database whose time stands still until it is moved, for all connections at once: `now()` of every statement is found in
 * a schema that is searched before PostgreSQL's own.
 */
export async function virtualTime(): Promise<VirtualTime> {
  const { db: before, url, close } = await freshDatabase()
  for (const sql of [
    'create schema virtual',
    'create table virtual.clock (at timestamptz not null)',
    `create function virtual.now() returns timestamptz language sql stable as 'select at from virtual.clock'`,
    'insert into virtual.clock values (now())',
    'alter table dead alter at set default virtual.now()',
  ]) {
    await before.query(sql)
  }
  const options = encodeURIComponent('-c search_path=virtual,pg_catalog,public')
  const db = connect(`${url}${url.includes('?') ? '&' : '?'}options=${options}`)
  let nowMs = START_MS

  const set = async (ms: number): Promise<void> => {
    nowMs = ms
    await db.query('update virtual.clock set at = $1', [new Date(ms).toISOString()])
  }
  await set(START_MS)

  return {
    db,
    nowMs: () => nowMs,
    pass: (seconds) => set(nowMs + seconds * 1000),
    reset: () => set(START_MS),
    async close() {
      await db.close()
      await close()
    },
  }
}
