import { expect, suite, test } from 'vitest'
import { freshDatabase } from '../../test/database.ts'

suite('a database', () => {
  test('answers', async () => {
    const { db, close } = await freshDatabase()

    const rows = await db.query(
      `select 1::bigint as a, timestamptz '2026-01-02 03:04:05.6+03' as b, array[1::bigint] as c, current_setting('statement_timeout') as d, count(*) as n from event`,
    )

    expect(rows).toEqual([{ a: '1', b: '2026-01-02T00:04:05.600Z', c: ['1'], d: '10s', n: '0' }])
    await close()
  })
})
