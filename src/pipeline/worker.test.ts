import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { addDeliveries } from '../../test/deliveries.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from '../queue/postgres.ts'
import type { Claim } from '../queue/queue.ts'
import { startWorker, type Worker } from './worker.ts'

const STUCK_MS = 1000

suite('a worker', () => {
  const nextId = idGenerator(() => 1)
  let database: FreshDatabase
  let worker: Worker
  let letGo: (() => void) | undefined

  beforeAll(async () => {
    database = await freshDatabase()
  })
  afterEach(async () => {
    letGo?.()
    await worker.stop(1)
  })
  afterAll(() => database.close())

  function start(handle: (claim: Claim) => Promise<void>): void {
    const queue = postgresQueue({ db: database.db, nextId, workerId: randomUUID(), leaseSeconds: 30 })
    const log = pino({ level: 'silent' })
    worker = startWorker({ queue, log }, { slotsPerLane: 2, batchSize: 2, stuckMs: STUCK_MS }, handle)
  }

  test('whose lanes turn is well, also when there is nothing to do', async () => {
    start(async () => {})

    await sleep(STUCK_MS * 1.5)

    await expect(worker.check()).resolves.toBeUndefined()
  })

  test('all of whose slots wait for ever is stuck, and says in which lane', async () => {
    const never = new Promise<void>((resolve) => {
      letGo = resolve
    })
    await addDeliveries(database.db, nextId, 2)
    start(() => never)

    await expect
      .poll(() => worker.check().catch((error: Error) => error.message), { timeout: 10_000 })
      .toBe('lanes that stopped turning: p2p')
  })

  test('takes no more at once than it has slots for', async () => {
    const ends: (() => void)[] = []
    let [running, most] = [0, 0]
    letGo = () => {
      for (const end of ends.splice(0)) end()
    }
    await addDeliveries(database.db, nextId, 5)
    start(async ({ deliveries }) => {
      running += deliveries.length
      most = Math.max(most, running)
      await new Promise<void>((resolve) => ends.push(resolve))
      running -= deliveries.length
    })

    for (let left = 3; left > 0; left--) {
      await expect.poll(() => ends.length).toBeGreaterThan(0)
      letGo?.()
    }

    expect(most).toBe(2)
  })
})
