import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { processNumber } from '../process-number.ts'
import { freeProcessNumber, renewProcessNumber, takeProcessNumber } from './process-number.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate process'))

const take = (processId = randomUUID()): Promise<number> =>
  takeProcessNumber(database.db, { processId, host: 'here', pid: 1, roles: ['worker'] })

suite('the number of a process', () => {
  test('is one that was never used, as long as there is one', async () => {
    const processId = randomUUID()
    const first = await take(processId)
    await freeProcessNumber(database.db, first, processId)

    expect([first, await take(), await take()]).toEqual([0, 1, 2])
  })

  test('is then the one that has been free the longest', async () => {
    await useAll()
    await expireFor({ 7: '1 minute', 200: '1 hour', 3: '5 minutes' })

    expect([await take(), await take(), await take()]).toEqual([200, 3, 7])
    await expect(take()).rejects.toThrow('No process number is free')
  })

  test('stays with a process that was paused, as long as nobody needs it', async () => {
    const processId = randomUUID()
    const number = await take(processId)
    await expireFor({ [number]: '1 hour' })
    await take()

    expect(await renewProcessNumber(database.db, number, processId)).toBe(true)
  })

  test('is another one after a pause in which somebody took it', async () => {
    const paused = await processNumber(database.db, ['worker'])
    const lost = paused.current()
    await useAll()
    await expireFor({ [lost]: '1 hour', 9: '1 minute' })
    await take()

    await paused.renew()

    expect([lost, paused.current()]).toEqual([0, 9])
  })

  test("is nobody else's, however many start at once", async () => {
    const processes = await Promise.all(Array.from({ length: 8 }, () => processNumber(database.db, ['worker'])))

    expect(new Set(processes.map(({ current }) => current())).size).toBe(8)
  })
})

/** All numbers not in use yet get into use. */
const useAll = () =>
  database.db.query(
    `insert into process (number, process_id, host, pid, roles, until)
     select n, gen_random_uuid(), 'here', 1, '{worker}', now() + interval '1 hour' from generate_series(0, 255) n
     on conflict do nothing`,
  )

async function expireFor(times: Record<number, string>): Promise<void> {
  for (const [number, time] of Object.entries(times)) {
    await database.db.query('update process set until = now() - $2::interval where number = $1', [number, time])
  }
}
