import type { Notification } from '../core/notification.ts'
import type { Queryable } from '../db/db.ts'
import { notificationOf, NOTIFICATION_COLUMNS, type NotificationRow } from './notification.ts'

/**
 * Gives a waiting notification its text and its place: in the inbox (`seq`) where it belongs there, else in the history
 * alone. One that is shown already stays as it is. Returns it as the user sees it; null when it is gone.
 */
export async function showNotification(
  db: Queryable,
  shown: { id: string; companyId: string; userId: string; title: string; body: string },
): Promise<Notification | null> {
  const rows = await db.query<NotificationRow>(SHOW, [shown.id, shown.companyId, shown.userId, shown.title, shown.body])
  return rows[0] ? notificationOf(rows[0]) : null
}

// The inbox row is locked first here, as everywhere, so that changes of one inbox queue up instead of deadlocking.
const SHOW = `
with head as (
  insert into inbox (company_id, user_id, head)
  select $2, $3, 1 from notification where id = $1 and shown_at is null and in_app
  on conflict (company_id, user_id) do update set head = inbox.head + 1
  returning head
),
shown as (
  update notification set
    shown_at = now(),
    seq = (select head from head),
    title = coalesce(title, $4),
    body = coalesce(body, $5)
  where id = $1 and shown_at is null
  returning *
)
select ${NOTIFICATION_COLUMNS} from shown n
union all
select ${NOTIFICATION_COLUMNS} from notification n where id = $1 and not exists (select from shown)`
