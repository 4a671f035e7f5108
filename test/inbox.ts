import { uuidOf } from '../src/core/id.ts'
import type { Queryable } from '../src/db/db.ts'
import type { Owner } from '../src/store/notification.ts'

let lastId = 1n << 40n

/** Puts a notification into a user's inbox as accepting does, and returns its public id. */
export async function putNotification(
  db: Queryable,
  { companyId, userId }: Owner,
  { type = 'job.done', title = 'Done', ageSeconds = 0, inApp = true }: Partial<Options> = {},
): Promise<string> {
  const id = String(++lastId)
  await db.query(
    `with head as (
       insert into inbox (company_id, user_id, head) select $2, $3, 1 where $7::boolean
       on conflict (company_id, user_id) do update set head = inbox.head + 1 returning head
     ),
     happened as (
       insert into event (id, company_id, event_id, type, event_type_id, payload, jobs_count, lane, priority)
       values ($1::bigint, $2, 'event-' || $1::bigint, $4, 1, '{}', 1, 0, 1)
     )
     insert into notification (id, event_id, public_event_id, company_id, user_id, type, level, seq, title, body, shown_at)
     values ($1::bigint, $1::bigint, 'event-' || $1::bigint, $2, $3, $4, 'info', (select head from head), $5, 'Body', now() - $6::float * interval '1 second')`,
    [id, companyId, userId, type, title, ageSeconds, inApp],
  )
  return uuidOf(id)
}

type Options = { type: string; title: string; ageSeconds: number; inApp: boolean }
