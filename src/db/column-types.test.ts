import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { connect } from './pool.ts'

let fresh: FreshDatabase
beforeAll(async () => {
  fresh = await freshDatabase()
})
afterAll(() => fresh.close())

suite('a value from the database', () => {
  test('of a large type arrives as text, of a small one as number', async () => {
    const rows = await fresh.db.query(
      `select 9007199254740993::bigint as big, array[1, null]::bigint[] as bigs, 1.5::float8 as float, 7::integer as small,
         1.10::numeric as exact, date '2026-01-02' as day, interval '1 day' as span, '{"a": [1]}'::jsonb as json`,
    )

    expect(rows).toEqual([
      {
        big: '9007199254740993',
        bigs: ['1', null],
        float: 1.5,
        small: 7,
        exact: '1.10',
        day: '2026-01-02',
        span: '1 day',
        json: { a: [1] },
      },
    ])
  })

  test('that is a time arrives in UTC as RFC 3339, to the microsecond', async () => {
    const rows = await fresh.db.query(
      `select timestamptz '2026-01-02 03:04:05+03' as whole, timestamptz '2026-01-02 03:04:05.6789+00' as precise,
         array[timestamptz '2026-01-02 03:04:05.6Z'] as list, timestamptz 'infinity' as never`,
    )

    expect(rows).toEqual([
      {
        whole: '2026-01-02T00:04:05.000Z',
        precise: '2026-01-02T03:04:05.678900Z',
        list: ['2026-01-02T03:04:05.600Z'],
        never: 'infinity',
      },
    ])
  })

  test('that is a time written by JavaScript comes back as it was', async () => {
    const now = new Date().toISOString()

    const [row] = await fresh.db.query<{ now: string }>('select $1::timestamptz as now', [now])

    expect(row?.now).toBe(now)
  })

  test('arrives the same when the URL brings options of its own', async () => {
    const url = `${fresh.url}&options=-c%20work_mem%3D8MB&application_name=mine`
    const db = connect(url)

    const rows = await db.query(
      `select timestamptz '2026-01-02 03:04:05Z' as at, current_setting('work_mem') as memory,
         current_setting('application_name') as name, current_setting('statement_timeout') as timeout`,
    )

    await db.close()
    expect(rows).toEqual([{ at: '2026-01-02T03:04:05.000Z', memory: '8MB', name: 'mine', timeout: '10s' }])
  })
})
