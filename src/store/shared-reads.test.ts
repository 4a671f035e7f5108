import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { sharedReads } from './shared-reads.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

suite('reads that are shared', () => {
  test('ask once for what is wanted at the same time, and anew for what is wanted later', async () => {
    await database.db.query('create sequence asked')
    const reads = sharedReads(database.db)
    const ask = (about: string) => reads.query(`select nextval('asked')::integer as n, $1::text as about`, [about])

    const together = await Promise.all([ask('a'), ask('a'), ask('b')])
    const later = await ask('a')

    expect(together[0]).toBe(together[1])
    expect(together.map(([row]) => row)).toEqual([
      { n: expect.any(Number), about: 'a' },
      { n: expect.any(Number), about: 'a' },
      { n: expect.any(Number), about: 'b' },
    ])
    expect(later).toEqual([{ n: 3, about: 'a' }])
  })

  test('fail together, and are asked again after that', async () => {
    const reads = sharedReads(database.db)
    const ask = () => reads.query('select 1 / (select count(*) from pg_class where relname = $1)', ['appears'])

    const failed = await Promise.allSettled([ask(), ask()])
    await database.db.query('create table appears ()')

    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await expect(ask()).resolves.toHaveLength(1)
  })
})
