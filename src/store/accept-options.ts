import type { ElementType } from '../db/binary-array.ts'
import type { EventRows } from './event-rows.ts'

export type Column<Row> = [name: string, type: ElementType, of: (row: Row) => string | number | boolean | null]

/** An event that takes the place of earlier ones, for one of its recipients. */
export type Collapse = { event: EventRows; userId: string }

export const collapsesOf = (events: readonly EventRows[]): Collapse[] =>
  events
    .filter((event) => event.collapse_key !== null)
    .flatMap((event) =>
      [...new Set(event.deliveries.map(({ user_id: userId }) => userId))].map((userId) => ({ event, userId })),
    )

export const COLLAPSE: Column<Collapse>[] = [
  ['company_id', 'text', ({ event }) => event.company_id],
  ['user_id', 'text', ({ userId }) => userId],
  ['collapse_key', 'text', ({ event }) => event.collapse_key],
  ['event_id', 'bigint', ({ event }) => event.id],
  ['waits_until', 'text', ({ event }) => event.deliveries[0]?.send_after ?? null],
]

/**
 * Of two events, the one whose lock was taken first is superseded, whatever their row ids: in the inbox too, which is
 * locked after this. What was superseded while it waits for a time to come need not lie in the queue until then.
 */
export const collapseParts = (source: string, where: string): string[] => [
  `collapsed as (
    insert into collapse (company_id, user_id, collapse_key, event_id, waits_until)
    select company_id, user_id, collapse_key, event_id, waits_until::timestamptz from ${source} ${where}
    order by company_id, user_id, collapse_key
    on conflict (company_id, user_id, collapse_key) do update set superseded_id = collapse.event_id,
      superseded_waits_until = collapse.waits_until, event_id = excluded.event_id, waits_until = excluded.waits_until
    returning superseded_id, superseded_waits_until)`,
  `superseded as (
    insert into withdrawal (event_id)
    select distinct superseded_id from collapsed where superseded_waits_until > now())`,
]

/** Waits for the locks of `collapseParts`. */
export const AFTER_COLLAPSE = 'where (select count(*) from collapsed) >= 0'
