import { randomUUID } from 'node:crypto'
import { freshDatabase } from '../../test/database.ts'
import { addDeliveries } from '../../test/deliveries.ts'
import { idGenerator } from '../core/id.ts'
import { postgresQueue } from './postgres.ts'
import { queueContract } from './queue.contract.ts'

queueContract('postgresQueue', async () => {
  const { db, close } = await freshDatabase()
  const nextId = idGenerator(() => 1)

  return {
    db,
    close,
    open: (options) => postgresQueue({ db, nextId, workerId: randomUUID(), isShared: true, ...options }),

    add: (count, options) => addDeliveries(db, nextId, count, options),

    async cancel(ids) {
      await db.query(
        'update event set cancelled_at = now() where id in (select event_id from delivery where id = any($1::bigint[]))',
        [ids],
      )
    },

    async clear() {
      await db.query('truncate event, delivery, ready, lease, intent, dead, attempt_log')
    },
  }
})
