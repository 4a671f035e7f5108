import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { connect } from '../db/pool.ts'
import type { LiveFrame } from './bus.ts'
import { busContract } from './bus.contract.ts'
import { postgresBus } from './postgres.ts'

let database: FreshDatabase

beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

/** Two pools, as two processes have. */
async function twoEnds() {
  const pools = [connect(database.url), connect(database.url)] as const
  const [here, there] = [postgresBus(pools[0]), postgresBus(pools[1])]
  const close = async (): Promise<void> => {
    await Promise.all([here.close(), there.close()])
    await Promise.all(pools.map((pool) => pool.close()))
  }
  return { here, there, close }
}

busContract('postgresBus', twoEnds)

suite('postgresBus', () => {
  test('sends the frames of one turn in one statement', async () => {
    const { here, close } = await twoEnds()
    const statements: string[] = []
    const pool = connect(database.url)
    const bus = postgresBus({ ...pool, query: (sql, params) => (statements.push(sql), pool.query(sql, params)) })

    await Promise.all(Array.from({ length: 1_000 }, () => bus.publish(frame)))

    expect(statements).toHaveLength(1)
    await Promise.all([bus.close(), close()])
    await pool.close()
    await here.close()
  })

  test('tells of a gap when its connection broke, and carries frames again afterwards', async () => {
    const { here, there, close } = await twoEnds()
    const frames: LiveFrame[] = []
    let gaps = 0
    const { stop } = await there.subscribe(
      (one) => frames.push(one),
      () => (gaps += 1),
    )
    expect(gaps).toBe(0)

    await database.db.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'eventcenter listen'`,
    )

    await expect.poll(() => gaps, { timeout: 10_000 }).toBe(1)
    await here.publish(frame)
    await expect.poll(() => frames).toEqual([frame])
    await stop()
    await close()
  })

  test('takes a message that it cannot read for a gap', async () => {
    const { there, close } = await twoEnds()
    const frames: LiveFrame[] = []
    let gaps = 0
    const { stop } = await there.subscribe(
      (one) => frames.push(one),
      () => (gaps += 1),
    )

    for (const text of ['no json', '{}', '[1]', '[{"company_id":"","user_id":"a","seq":"x","frame":null}]']) {
      await database.db.query(`select pg_notify('eventcenter_live', $1)`, [text])
    }

    await expect.poll(() => gaps).toBe(4)
    expect(frames).toEqual([])
    await stop()
    await close()
  })

  test('rejects what it could not send', async () => {
    const pool = connect(database.url)
    const bus = postgresBus(pool)
    await pool.close()

    await expect(bus.publish(frame)).rejects.toThrow()
    await expect(bus.check()).rejects.toThrow()
  })
})

const frame: LiveFrame = { company_id: '', user_id: 'anna', seq: '1', frame: { type: 'notification' } }
