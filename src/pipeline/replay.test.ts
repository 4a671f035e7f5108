import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { idGenerator } from '../core/id.ts'
import type { Queue } from '../queue/queue.ts'
import { requeueLetters } from '../store/requeue.ts'
import { findReplay, stopReplay } from '../store/replay.ts'
import { continueReplays, startReplay, type ReplayRequest } from './replay.ts'

const nextId = idGenerator(() => 1)
const anna = { companyId: '', keyId: 'anna' }
const boris = { companyId: '', keyId: 'boris' }

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate event, delivery, ready, dead, attempt_log, replay'))

const request = (change: Partial<ReplayRequest> = {}): ReplayRequest => ({
  filter: { kind: 'failed' },
  template: 'same',
  ratePerSecond: 10_000,
  ...change,
})
const start = (change: Partial<ReplayRequest> = {}, key = 'key', who = anna) =>
  startReplay({ db: database.db, nextId }, who, request(change), key)
const go = () =>
  continueReplays({
    db: database.db,
    queue: { wake: () => {} } as Queue,
    log: pino({ level: 'silent' }),
  })
const replayOf = (id: string) => findReplay(database.db, '', id)
const count = async (what: string) => {
  const [row] = await database.db.query<{ count: number }>(`select count(*)::integer as count from ${what}`)
  return row?.count ?? 0
}

suite('a replay', () => {
  test('sends all that fit and says of the others why not', async () => {
    await bury(database.db, 3, { reason: '450 try later' })
    await bury(database.db, 1, { reason: '550 no such user' })
    await bury(database.db, 1, { reason: '450 try later', expiresInSeconds: -1 })
    await bury(database.db, 1, { reason: '450 try later', isCancelled: true })
    await bury(database.db, 1, { reason: '450 try later', kind: 'uncertain' })
    await bury(database.db, 1, { reason: '450 try later', companyId: 'other' })

    const { replay } = await start({ filter: { kind: 'failed', reason: '450 try later' }, expectedCount: 3 })
    await go()

    expect(await replayOf(replay.id)).toMatchObject({
      status: 'done',
      total: 3,
      requeued: 3,
      expired: 1,
      cancelled: 1,
      started_by: 'anna',
      finished_at: expect.any(String),
    })
    expect([await count('ready'), await count('dead')]).toEqual([3, 5])
  })

  test('of 50,000 letters, started by two at once and killed again and again, sends each once', async () => {
    const ids = [...(await bury(database.db, 25_000)), ...(await bury(database.db, 25_000))]

    const starts = await Promise.all([
      start({ expectedCount: 50_000 }, 'of-anna', anna),
      start({ expectedCount: 50_000 }, 'of-boris', boris),
      start({ expectedCount: 50_000 }, 'of-anna', anna),
      start({ expectedCount: 50_000 }, 'of-boris', boris),
    ])
    const seen: number[] = []
    for (let kill = 0; kill < 4; kill++) {
      const processes = [startProcess(), startProcess()]
      const before = await count('ready')
      await expect.poll(() => count('ready'), { timeout: 20_000, interval: 5 }).toBeGreaterThan(before)
      for (const process of processes) await process.kill()
      seen.push(await count('ready'))
    }
    while ((await replayOf(starts[0].replay.id))?.status === 'running') {
      await go()
      await sleep(20)
    }

    expect(new Set(starts.map(({ replay }) => replay.id)).size).toBe(1)
    expect(starts.filter(({ isNew }) => isNew)).toHaveLength(1)
    expect(await count('replay')).toBe(1)
    expect(seen[0], 'killed in the middle').toBeLessThan(50_000)
    expect(await replayOf(starts[0].replay.id)).toMatchObject({ status: 'done', total: 50_000, requeued: 50_000 })
    expect(await count('dead')).toBe(0)
    const ready = await database.db.query<{ id: string }>('select id from ready order by id')
    expect(ready.map((row) => row.id)).toEqual(ids)
  }, 60_000)

  test('puts back a page and notes it together, or not at all', async () => {
    const { db } = database
    await bury(db, 3)
    const { replay } = await start()
    await db.query(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$`)
    await db.query('create trigger refuse before update on replay for each row execute function refuse()')

    const failure = await go().catch((error: unknown) => error)
    const readyMeanwhile = await count('ready')
    await db.query('drop function refuse cascade')
    await go()

    expect(failure).toBeInstanceOf(Error)
    expect(readyMeanwhile).toBe(0)
    expect(await replayOf(replay.id)).toMatchObject({ status: 'done', requeued: 3 })
  })

  test('is known by its key, also when it is over', async () => {
    await bury(database.db, 1)
    const first = await start()
    await go()
    await bury(database.db, 1)

    const again = await start()

    expect([again.isNew, again.replay.id, again.replay.status]).toEqual([false, first.replay.id, 'done'])
    expect(await count('dead')).toBe(1)
    await expect(start({ template: 'current' })).rejects.toMatchObject({ code: 'mismatch' })
    expect((await start({}, 'another key')).isNew).toBe(true)
    expect((await start({}, 'key', { companyId: 'other', keyId: 'x' })).isNew).toBe(true)
  })

  test('is not started when the letters are not as many as were counted', async () => {
    await bury(database.db, 3)

    await expect(start({ expectedCount: 2 })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('3 such dead letters'),
    })

    expect(await count('replay')).toBe(0)
  })

  test('of the same letters with other templates waits for the first', async () => {
    await bury(database.db, 1)
    await start()

    await expect(start({ template: 'current' }, 'another key')).rejects.toMatchObject({ code: 'conflict' })
    await go()

    expect((await start({ template: 'current' }, 'another key')).isNew).toBe(true)
  })

  test('does not put back faster than its rate', async () => {
    await bury(database.db, 100)

    const { replay } = await start({ ratePerSecond: 5 })
    await go()
    await go()

    const found = await replayOf(replay.id)
    expect(found).toMatchObject({ status: 'running' })
    expect(found?.requeued).toBeGreaterThanOrEqual(15)
    expect(found?.requeued).toBeLessThan(35)
    const [pace] = await database.db.query<{ seconds: number }>(
      'select extract(epoch from max(run_at) - min(run_at))::float8 as seconds from ready',
    )
    expect(pace?.seconds).toBeCloseTo(((found?.requeued ?? 0) - 1) / 5, 0)
  })

  test('that is stopped puts back no more', async () => {
    await bury(database.db, 100)
    const { replay } = await start({ ratePerSecond: 5 })
    await go()

    const stopped = await stopReplay(database.db, '', replay.id)
    await database.db.query(`update replay set sent_until = now() - interval '1 hour'`)
    await go()

    expect(stopped).toMatchObject({ status: 'stopped' })
    expect(await replayOf(replay.id)).toEqual(stopped)
    expect(await stopReplay(database.db, 'other', replay.id)).toBeNull()
  })

  test('leaves alone what died after it was started, and what somebody dealt with', async () => {
    const ids = await bury(database.db, 2)
    const { replay } = await start()
    await bury(database.db, 1)
    await requeueLetters(database.db, '', ids.slice(0, 1), { kind: 'failed', template: 'same' })

    await go()

    expect(await replayOf(replay.id)).toMatchObject({ status: 'done', requeued: 1 })
    expect([await count('ready'), await count('dead')]).toEqual([2, 1])
  })
})

const children = new Set<ReturnType<typeof spawn>>()
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
})

function startProcess() {
  const script = path.join(import.meta.dirname, '../../test/replay-process.ts')
  const child = spawn(process.execPath, [script, database.url], { stdio: ['ignore', 'ignore', 'inherit'] })
  children.add(child)
  const exit = once(child, 'exit').finally(() => children.delete(child))
  return {
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
  }
}
