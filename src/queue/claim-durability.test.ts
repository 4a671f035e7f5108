import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { addDeliveries } from '../../test/deliveries.ts'
import { idGenerator } from '../core/id.ts'
import type { Db } from '../db/db.ts'
import { connect } from '../db/pool.ts'
import { postgresQueue } from './postgres.ts'

const CLAIMS = 20

let fresh: FreshDatabase
let db: Db
beforeAll(async () => {
  fresh = await freshDatabase()
  // The server of the tests waits for no disk; these connections do.
  db = connect(`${fresh.url}&options=-c%20synchronous_commit%3Don`)
})
afterAll(async () => {
  await db.close()
  await fresh.close()
})

/** For each of some claims, whether it was on disk when it was answered. */
async function areOnDisk(asStarted: boolean): Promise<boolean[]> {
  const nextId = idGenerator(() => 1)
  const queue = postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: 30 })
  await addDeliveries(db, nextId, CLAIMS)
  const answers: boolean[] = []
  for (let n = 0; n < CLAIMS; n++) {
    const [before] = await db.query<{ at: string }>('select pg_current_wal_insert_lsn() as at')
    expect(await queue.claim({ channel: 'email', lane: 'p2p' }, 1, { asStarted })).toMatchObject({ deliveries: [{}] })
    const [flushed] = await db.query<{ is_on_disk: boolean }>(
      'select pg_current_wal_flush_lsn() > $1::pg_lsn as is_on_disk',
      [before!.at],
    )
    answers.push(flushed!.is_on_disk)
  }
  await queue.close()
  return answers
}

suite('a claim', () => {
  test('that counts as begun is on disk when it is answered', async () => {
    expect(new Set(await areOnDisk(true))).toEqual(new Set([true]))
  })

  test('that does not is not waited for', async () => {
    expect(await areOnDisk(false)).toContain(false)
  })
})
