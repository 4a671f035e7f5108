import { randomUUID } from 'node:crypto'
import { freshDatabase } from '../../test/database.ts'
import { LANES } from '../core/event.ts'
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

    async add(count, { lane = 'p2p', priority = 1, inSeconds = 0, expiresInSeconds, channel = 'email' } = {}) {
      const ids: string[] = []
      for (let i = 0; i < count; i++) {
        const [eventId, id] = [nextId(), nextId()]
        ids.push(id)
        await db.query(
          `with e as (
             insert into event (id, event_id, type, event_type_id, payload, lane, priority)
             values ($1::bigint, $1::bigint::text, 'job.done', 1, '{"type":"job.done","data":{}}', $3, $4)
           ),
           d as (
             insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, run_at, expires_at)
             values ($2, $1::bigint, 1, $5, 'anna', $3, $4, now() + make_interval(secs => $6), now() + make_interval(secs => $7))
             returning lane, priority, run_at, id
           )
           insert into ready select * from d`,
          [eventId, id, LANES[lane], priority, channel, inSeconds, expiresInSeconds ?? null],
        )
      }
      return ids
    },

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
