import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { addDeliveries } from '../../test/deliveries.ts'
import { idGenerator } from '../core/id.ts'
import type { Db } from '../db/db.ts'
import { connect } from '../db/pool.ts'
import { postgresQueue } from '../queue/postgres.ts'
import { leaseSweep } from './sweep.ts'

const nextId = idGenerator(() => 1)
const PLACE = { channel: 'email', lane: 'p2p' } as const

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate event, delivery, ready, lease, intent, dead, attempt_log'))

/** A process that loses its database and finds it again. */
function open() {
  const nowhere = connect('postgres://nobody@127.0.0.1:1/none')
  const process = { isAway: false }
  const query: Db['query'] = (...given) => (process.isAway ? nowhere : database.db).query(...given)
  const queue = postgresQueue({ db: { ...database.db, query }, nextId, workerId: randomUUID(), leaseSeconds: 30 })
  const sweep = leaseSweep({ queue, channels: new Map(), log: pino({ level: 'silent' }) })
  return Object.assign(process, { queue, sweep })
}

const endLeases = () => database.db.query(`update lease set until = now() - interval '1 second'`)

suite('a sweep of ended leases', () => {
  test('lets the living first record what they sent while the database was away', async () => {
    const process = open()
    const { queue, sweep } = process
    await sweep.turn()
    const [id] = await addDeliveries(database.db, nextId, 1)
    const claim = await queue.claim(PLACE, 1, { asStarted: true })
    await endLeases()
    process.isAway = true
    await expect(sweep.turn()).rejects.toMatchObject({ code: 'unavailable' })
    await expect(sweep.turn()).rejects.toMatchObject({ code: 'unavailable' })
    process.isAway = false

    await sweep.turn()
    const recorded = await queue.finish(claim!.leaseId, [{ id: id!, state: 'sent' }])

    expect(recorded).toEqual([id])
  })

  test('lets them do so also when it has just started: nobody knows what was before', async () => {
    const { queue, sweep } = open()
    const [id] = await addDeliveries(database.db, nextId, 1)
    const claim = await queue.claim(PLACE, 1, { asStarted: true })
    await endLeases()

    await sweep.turn()
    const recorded = await queue.finish(claim!.leaseId, [{ id: id!, state: 'sent' }])

    expect(recorded).toEqual([id])
  })

  test('takes over what is over soon after that', async () => {
    const process = open()
    await process.sweep.turn()
    await addDeliveries(database.db, nextId, 1)
    await process.queue.claim(PLACE, 1)
    await endLeases()
    process.isAway = true
    await expect(process.sweep.turn()).rejects.toThrow()
    process.isAway = false

    await process.sweep.turn()
    await process.sweep.turn()

    expect(await database.db.query('select from ready')).toHaveLength(1)
  })

  test('takes over all that is over, however many leases the dead held', async () => {
    const { queue, sweep } = open()
    await addDeliveries(database.db, nextId, 250)
    for (let n = 0; n < 250; n++) await queue.claim(PLACE, 1, { asStarted: n % 2 === 0 })
    await endLeases()

    await sweep.turn()
    await sweep.turn()

    expect(await database.db.query('select from lease')).toEqual([])
    expect(await database.db.query('select from ready')).toHaveLength(125)
  })
})
