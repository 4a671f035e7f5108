import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { addDeliveries } from '../../test/deliveries.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from './postgres.ts'
import type { Queue } from './queue.ts'

suite('events of what is claimed', () => {
  const nextId = idGenerator(() => 1)
  let database: FreshDatabase
  let queue: Queue
  let ids: string[]
  beforeAll(async () => {
    database = await freshDatabase()
    const { db } = database
    queue = postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: 30 })
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db.query('truncate event, delivery, ready, lease')
    ids = await addDeliveries(database.db, nextId, 5)
    await database.db.query(`
      update event set event_type_id = n, payload = json_build_object('type', 'type ' || n)
      from (select event_id as its_id, row_number() over (order by id) as n from delivery) as numbered where id = its_id`)
  })

  const share = (from: number, to: number) =>
    database.db.query('update delivery set event_id = (select event_id from delivery where id = $1) where id = $2', [
      ids[from],
      ids[to],
    ])
  async function claimed() {
    const claim = await queue.claim({ channel: 'email', lane: 'p2p' }, 10)
    return (claim?.deliveries ?? []).map(({ id, event, event_type_id: version }) => [
      ids.indexOf(id),
      event.type,
      version,
    ])
  }

  test('come to each delivery, also where several share one, in whatever order', async () => {
    await share(0, 1)
    await share(0, 3)

    expect(await claimed()).toEqual([
      [0, 'type 1', '1'],
      [1, 'type 1', '1'],
      [2, 'type 3', '3'],
      [3, 'type 1', '1'],
      [4, 'type 5', '5'],
    ])
  })

  test('are of nobody else: what has none is not handed out', async () => {
    await database.db.query('delete from event where event_type_id in (1, 4)')

    expect(await claimed()).toEqual([
      [1, 'type 2', '2'],
      [2, 'type 3', '3'],
      [4, 'type 5', '5'],
    ])
  })
})
