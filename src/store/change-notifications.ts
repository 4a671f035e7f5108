import type { Notification } from '../core/notification.ts'
import type { Queryable } from '../db/db.ts'
import { notificationOf, NOTIFICATION_COLUMNS, type NotificationRow, type Owner } from './notification.ts'

/** What a user may do with one of his notifications. */
export type Change =
  | { change: 'read' | 'unread' | 'seen' | 'archive' | 'unarchive' }
  | { change: 'snooze'; until: string | null }

/** `when` it is a change at all, and what it writes. What is archived gives its place to a later one of its kind. */
const CHANGES: Record<Change['change'], { when: string; set: string }> = {
  read: { when: 'n.read_at is null', set: 'read_at = now(), seen_at = coalesce(seen_at, now())' },
  unread: { when: 'n.read_at is not null', set: 'read_at = null' },
  seen: { when: 'n.seen_at is null', set: 'seen_at = now()' },
  archive: { when: 'n.archived_at is null', set: 'archived_at = now(), snoozed_until = null, collapse_key = null' },
  unarchive: { when: 'n.archived_at is not null', set: 'archived_at = null' },
  snooze: {
    when: 'n.archived_at is null and n.snoozed_until is distinct from $4::timestamptz',
    set: 'snoozed_until = $4::timestamptz',
  },
}

/**
 * Makes a change and takes the next `seq` for it, in one statement. Returns the notification when it changed, null when
 * there was nothing to change: it is so already, or not in this user's inbox.
 */
export async function changeNotification(
  db: Queryable,
  { companyId, userId }: Owner,
  id: string,
  change: Change,
): Promise<Notification | null> {
  const { when, set } = CHANGES[change.change]
  const params = change.change === 'snooze' ? [change.until] : []
  const [row] = await db.query<NotificationRow>(
    `with locked as materialized (${LOCK}),
     target as materialized (
       select n.id from locked, notification n
       where n.company_id = $1 and n.user_id = $2 and n.id = $3 and n.seq is not null and ${when}
       for update of n
     ),
     taken as (
       update inbox set head = head + 1 where company_id = $1 and user_id = $2 and exists (select from target)
       returning head
     ),
     changed as (
       update notification set seq = taken.head, ${set} from taken, target where notification.id = target.id
       returning notification.*
     )
     select ${NOTIFICATION_COLUMNS} from changed n`,
    [companyId, userId, id, ...params],
  )
  return row ? notificationOf(row) : null
}

/** What is seen or read at once. */
export type Selection = { shownUntil?: string; type?: string }

/**
 * Makes all that is in the inbox read, or seen, each with its own `seq`. Returns the changed ones in the order of their
 * `seq`, at most `limit` of them, and how many there were.
 */
export async function changeAll(
  db: Queryable,
  { companyId, userId }: Owner,
  change: 'read' | 'seen',
  { shownUntil, type }: Selection,
  limit: number,
): Promise<{ count: number; head: number; items: Notification[] }> {
  const { when, set } = CHANGES[change]
  const rows = await db.query<NotificationRow & { total: string; head: string }>(
    `with locked as materialized (${LOCK}),
     target as materialized (
       select n.id, n.seq from locked, notification n
       where n.company_id = $1 and n.user_id = $2 and n.seq is not null and n.archived_at is null
         and (n.snoozed_until is null or n.snoozed_until <= now()) and ${when}
         and ($3::timestamptz is null or n.shown_at <= $3) and ($4::text is null or n.type = $4)
       for update of n
     ),
     counted as (select count(*) as total from target),
     taken as (
       update inbox set head = head + total from counted where company_id = $1 and user_id = $2 and total > 0
       returning head, total
     ),
     numbered as (select id, row_number() over (order by seq) as place from target),
     changed as (
       update notification set seq = head - total + place, ${set} from taken, numbered
       where notification.id = numbered.id
       returning notification.*, total, head
     )
     select ${NOTIFICATION_COLUMNS}, n.total, n.head from changed n order by n.seq limit $5`,
    [companyId, userId, shownUntil ?? null, type ?? null, limit],
  )
  return { count: Number(rows[0]?.total ?? 0), head: Number(rows[0]?.head ?? 0), items: rows.map(notificationOf) }
}

/**
 * Brings back what was snoozed until now: unread, on top of the list, with a new `seq`. At most `limit` at a time, of
 * all users; any number of processes may do this at once.
 */
export async function wakeNotifications(
  db: Queryable,
  limit: number,
): Promise<{ owner: Owner; notification: Notification }[]> {
  const rows = await db.query<NotificationRow & { company_id: string; user_id: string }>(
    `with due as materialized (
       select id, company_id, user_id from notification where snoozed_until <= now() order by snoozed_until limit $1
     ),
     locked as materialized (
       select company_id, user_id from inbox
       where (company_id, user_id) in (select company_id, user_id from due)
       order by company_id, user_id for update
     ),
     target as materialized (
       select n.id, n.company_id, n.user_id, n.seq from due join locked using (company_id, user_id), notification n
       where n.id = due.id and n.snoozed_until <= now()
       for update of n
     ),
     taken as (
       update inbox set head = head + total
       from (select company_id, user_id, count(*) as total from target group by 1, 2) counted
       where inbox.company_id = counted.company_id and inbox.user_id = counted.user_id
       returning inbox.company_id, inbox.user_id, head, total
     ),
     numbered as (
       select id, head - total + row_number() over (partition by company_id, user_id order by seq) as seq
       from target join taken using (company_id, user_id)
     ),
     changed as (
       update notification set seq = numbered.seq, snoozed_until = null, read_at = null, seen_at = null, shown_at = now()
       from numbered where notification.id = numbered.id
       returning notification.*
     )
     select ${NOTIFICATION_COLUMNS}, n.company_id, n.user_id from changed n order by n.company_id, n.user_id, n.seq`,
    [limit],
  )
  return rows.map((row) => ({
    owner: { companyId: row.company_id, userId: row.user_id },
    notification: notificationOf(row),
  }))
}

/** The inbox is locked before its notifications, here as everywhere: changes of one inbox queue up, none deadlocks. */
const LOCK = 'select from inbox where company_id = $1 and user_id = $2 for update'
