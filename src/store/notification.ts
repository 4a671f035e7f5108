import type { Cta, Level } from '../core/event.ts'
import { uuidOf } from '../core/id.ts'
import type { JsonObject } from '../core/json.ts'
import type { Notification } from '../core/notification.ts'
import type { Queryable } from '../db/db.ts'

/** Whose inbox. No statement about notifications goes without it, so nobody reaches another's rows. */
export type Owner = { companyId: string; userId: string }

/** What `NOTIFICATION_COLUMNS` selects. */
export type NotificationRow = {
  id: string
  event_id: string
  type: string
  level: Level
  title: string | null
  body: string | null
  cta: Cta | null
  data: JsonObject
  seq: string | null
  created_at: string
  seen_at: string | null
  read_at: string | null
  archived_at: string | null
  snoozed_until: string | null
}

/** Of `notification n`. An event is named to the outside by its producer's id. */
export const NOTIFICATION_COLUMNS = `
  n.id, n.public_event_id as event_id, n.type, n.level, n.title, n.body, n.cta,
  n.data, n.seq, n.shown_at as created_at, n.seen_at, n.read_at, n.archived_at, n.snoozed_until`

/** What a later event makes of the notification that is `excluded` by its collapse key: a new one, in the same place. */
export const REPLACE_NOTIFICATION = `update set event_id = excluded.event_id, public_event_id = excluded.public_event_id,
  type = excluded.type, level = excluded.level, seq = excluded.seq, title = excluded.title, body = excluded.body,
  cta = excluded.cta, data = excluded.data, read_at = excluded.read_at, seen_at = null, snoozed_until = null`

/** A row as its user sees it. */
export const notificationOf = (row: NotificationRow): Notification => ({
  id: uuidOf(row.id),
  type: row.type,
  title: row.title ?? '',
  message: row.body ?? '',
  event_id: row.event_id,
  level: row.level,
  cta: row.cta,
  data: row.data,
  seq: row.seq === null ? null : Number(row.seq),
  is_read: row.read_at !== null,
  is_seen: row.seen_at !== null,
  is_archived: row.archived_at !== null,
  snoozed_until: row.snoozed_until,
  created_at: row.created_at,
})

/** Parts of a user's notifications. `all` is the history: also what never was in the inbox. */
export const NOTIFICATION_STATUSES = ['inbox', 'unread', 'read', 'archived', 'snoozed', 'all'] as const
export type NotificationStatus = (typeof NOTIFICATION_STATUSES)[number]

/** A snoozed one comes back at its time, also when nobody has woken it yet. */
const IN_INBOX = `n.seq is not null and n.archived_at is null and (n.snoozed_until is null or n.snoozed_until <= now())`

const CONDITIONS: Record<NotificationStatus, string> = {
  inbox: IN_INBOX,
  unread: `${IN_INBOX} and n.read_at is null`,
  read: `${IN_INBOX} and n.read_at is not null`,
  archived: 'n.seq is not null and n.archived_at is not null',
  snoozed: 'n.seq is not null and n.archived_at is null and n.snoozed_until > now()',
  all: 'true',
}

/** A place in the list: the last row before it. */
export type Cursor = { shownAt: string; id: string }

/** One page, newest first, and where the next one begins (null: there is none). */
export async function listNotifications(
  db: Queryable,
  { companyId, userId }: Owner,
  { status, type, after, limit }: { status: NotificationStatus; type?: string; after?: Cursor; limit: number },
): Promise<{ items: Notification[]; next: Cursor | null }> {
  const rows = await db.query<NotificationRow & { shown_at: string }>(
    `select ${NOTIFICATION_COLUMNS}, n.shown_at from notification n
     where n.company_id = $1 and n.user_id = $2 and ${CONDITIONS[status]}
       and ($3::text is null or n.type = $3)
       and ($4::timestamptz is null or (n.shown_at, n.id) < ($4, $5::bigint))
     order by n.shown_at desc, n.id desc limit $6`,
    [companyId, userId, type ?? null, after?.shownAt ?? null, after?.id ?? null, limit + 1],
  )
  const last = rows.length > limit ? rows[limit - 1] : undefined
  return {
    items: rows.slice(0, limit).map(notificationOf),
    next: last ? { shownAt: last.shown_at, id: last.id } : null,
  }
}

/** One notification of the user, or null: another's is as unknown as one that never was. */
export async function findNotification(
  db: Queryable,
  { companyId, userId }: Owner,
  id: string,
): Promise<Notification | null> {
  const [row] = await db.query<NotificationRow>(
    `select ${NOTIFICATION_COLUMNS} from notification n
     where n.company_id = $1 and n.user_id = $2 and n.id = $3`,
    [companyId, userId, id],
  )
  return row ? notificationOf(row) : null
}

/**
 * What changed in the inbox after `since`, in the order of `seq`, at most `limit` of it. `head` is the last change that
 * there is; the items reach it when `isComplete`. A `since` beyond `head` is from another life of the database: then
 * nothing can be said but that the inbox must be loaded anew, and `isComplete` is false with no items.
 */
export async function changesSince(
  db: Queryable,
  { companyId, userId }: Owner,
  since: number,
  limit: number,
): Promise<{ items: Notification[]; head: number; isComplete: boolean }> {
  const rows = await db.query<{ head: string } & (NotificationRow | { id: null })>(
    `with known as (select coalesce((select head from inbox where company_id = $1 and user_id = $2), 0) as head)
     select known.head, n.* from known left join lateral (
       select ${NOTIFICATION_COLUMNS} from notification n
       where n.company_id = $1 and n.user_id = $2 and n.seq > $3 order by n.seq limit $4
     ) n on true
     order by n.seq`,
    [companyId, userId, since, limit + 1],
  )
  const head = Number(rows[0]?.head ?? 0)
  const items = rows.flatMap((row) => (row.id === null ? [] : [notificationOf(row)])).slice(0, limit)
  return { items, head, isComplete: since <= head && rows.length <= limit }
}

/** The last change of the inbox; 0 while there was none. */
export async function inboxHead(db: Queryable, { companyId, userId }: Owner): Promise<number> {
  const [row] = await db.query<{ head: string }>('select head from inbox where company_id = $1 and user_id = $2', [
    companyId,
    userId,
  ])
  return Number(row?.head ?? 0)
}

/** The number on the bell. */
export async function unreadCount(db: Queryable, { companyId, userId }: Owner): Promise<number> {
  const [row] = await db.query<{ count: string }>(
    `select count(*) as count from notification n
     where n.company_id = $1 and n.user_id = $2 and ${CONDITIONS.unread}`,
    [companyId, userId],
  )
  return Number(row?.count ?? 0)
}
