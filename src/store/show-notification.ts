import { coalesced, GATHER_MS } from '../core/coalesce.ts'
import type { PlannedNotification } from '../core/plan.ts'
import type { Notification } from '../core/notification.ts'
import type { Queryable } from '../db/db.ts'
import { notificationOf, NOTIFICATION_COLUMNS, REPLACE_NOTIFICATION, type NotificationRow } from './notification.ts'

/** A notification to be written when it is shown. `id` is the one kept for it at planning. */
export type ShownNotification = PlannedNotification & {
  id: string
  event_row_id: string
  event_id: string
  company_id: string
}

/**
 * Gives a notification its place in the inbox, replacing the one with its collapse key, and returns it as the user sees
 * it. One that has its place already keeps it: a repeated send shows nothing twice. Null when a later event is there.
 */
export async function placeInInbox(db: Queryable, shown: ShownNotification): Promise<Notification | null> {
  const [row] = await db.query<NotificationRow & { is_later: boolean }>(PLACE, parametersOf(shown))
  return row && !row.is_later ? notificationOf(row) : null
}

/** The notification that is shown already, without asking the database again. */
export const placed = (
  shown: ShownNotification,
  place: { id: string; seq: string | null; shown_at: string },
): Notification =>
  notificationOf({
    ...shown,
    ...place,
    read_at: shown.is_read ? place.shown_at : null,
    created_at: place.shown_at,
    seen_at: null,
    archived_at: null,
    snoozed_until: null,
  })

/**
 * Writes what is sent over other channels alone into the history: what comes at the same time in one statement, and one
 * that cannot be written fails alone. `expected`: more than so many are not waited for. Repeating is harmless.
 */
export function historyNotes(db: Queryable, expected: number): (shown: ShownNotification) => Promise<undefined> {
  const note = coalesced(
    async (shown: ShownNotification[]) => {
      const whole = await noteInHistory(db, shown)
      if (whole === null || shown.length === 1) return shown.map(() => whole)
      const ends = []
      for (const one of shown) ends.push(await noteInHistory(db, [one]))
      return ends
    },
    { maxInputs: MAX_NOTES, maxRunning: 1, gather: { ms: GATHER_MS, enough: () => expected } },
  )

  return async (shown) => {
    const failure = await note(shown)
    if (failure) throw failure.error
  }
}

/** Their texts may be long. */
const MAX_NOTES = 100

const noteInHistory = (db: Queryable, shown: readonly ShownNotification[]): Promise<{ error: unknown } | null> =>
  db.query(NOTE, [JSON.stringify(shown)]).then(
    () => null,
    (error: unknown) => ({ error }),
  )

const parametersOf = (shown: ShownNotification): unknown[] => [
  shown.id,
  shown.event_row_id,
  shown.event_id,
  shown.company_id,
  shown.user_id,
  shown.type,
  shown.level,
  shown.title,
  shown.body,
  JSON.stringify(shown.cta),
  JSON.stringify(shown.data),
  shown.is_read,
  shown.collapse_key,
]

// The inbox is locked first here, as everywhere, so that changes of one inbox queue up instead of deadlocking.
const PLACE = `
with current as materialized (
  -- Held, so that no later event comes in between.
  select event_id from collapse where company_id = $4 and user_id = $5 and collapse_key = $13 for share
),
known as materialized (
  select * from notification where (id = $1 or event_id = $2) and company_id = $4 and user_id = $5 and seq is not null
),
later as materialized (
  select from current where event_id <> $2
  union all
  -- Where nothing is written down of the key any more.
  select from notification
  where company_id = $4 and user_id = $5 and collapse_key = $13 and archived_at is null and event_id > $2
    and not exists (select from current)
),
head as (
  insert into inbox (company_id, user_id, head) select $4, $5, 1
  where not exists (select from known) and not exists (select from later)
  on conflict (company_id, user_id) do update set head = inbox.head + 1
  returning head
),
placed as (
  insert into notification (id, event_id, public_event_id, company_id, user_id, type, level, title, body, cta, data,
    read_at, collapse_key, seq)
  select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11::text::jsonb, case when $12::boolean then now() end, $13,
    head
  from head
  on conflict (company_id, user_id, collapse_key) where collapse_key is not null and archived_at is null
  do ${REPLACE_NOTIFICATION}
    where notification.event_id < excluded.event_id
      or notification.event_id > excluded.event_id and exists (select from current)
  returning *
)
select ${NOTIFICATION_COLUMNS}, false as is_later from placed n
union all
select ${NOTIFICATION_COLUMNS}, n.event_id <> $2 as is_later from known n`

// In one order, so that two processes that note the same wait for each other instead of deadlocking.
const NOTE = `
insert into notification (id, event_id, public_event_id, company_id, user_id, type, level, title, body, cta, data)
select id, event_row_id, event_id, company_id, user_id, type, level, title, body, cta, data
from jsonb_to_recordset($1::text::jsonb) as shown(
  id bigint, event_row_id bigint, event_id text, company_id text, user_id text, type text, level text, title text,
  body text, cta jsonb, data jsonb)
order by id
on conflict (id) do nothing`
