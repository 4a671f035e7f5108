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

export const THREAD: Column<{ child: EventRows['deliveries'][number] }> = [
  'thread',
  'uuid',
  ({ child }) => child.thread,
]

/**
 * Gives places in their threads to what is `delivered`, under the lock of each, in the order of their keys. The first of a
 * thread that has nobody has its turn at once; the others wait until it is passed on to them (migration 0007).
 */
export const threadParts: readonly string[] = [
  `ordered as materialized (
    select id, thread, row_number() over (partition by thread order by id) as nth,
      count(*) over (partition by thread) as total
    from delivered where thread is not null)`,
  `turns as (
    insert into thread (key, head, last_place)
    select thread, min(id), count(*) from ordered group by thread order by thread
    on conflict (key) do update set last_place = thread.last_place + excluded.last_place
    returning key, head, last_place)`,
  `queueing as (
    insert into thread_waiting (key, place, delivery_id)
    select thread, last_place - total + nth, id from ordered join turns on turns.key = thread where id <> head)`,
]

/** What is due to be queued: it is in no thread, or has its turn. */
export const HAS_TURN = '(thread is null or id in (select head from turns))'

type Deduped = { event: EventRows; dedupe: NonNullable<EventRows['dedupe']> }

export const dedupedOf = (events: readonly EventRows[]): Deduped[] =>
  events.flatMap((event) => (event.dedupe ? [{ event, dedupe: event.dedupe }] : []))

export const DEDUPE: Column<Deduped>[] = [
  ['key', 'uuid', ({ dedupe }) => dedupe.key],
  ['event_id', 'bigint', ({ event }) => event.id],
  ['public_event_id', 'text', ({ event }) => event.event_id],
  ['jobs_count', 'integer', ({ event }) => event.jobs_count],
  ['window_seconds', 'integer', ({ dedupe }) => dedupe.window_seconds],
]

/** `fresh` are those of the `unknown` that got their business key, or have none; within a statement, the first. */
export const dedupeParts = (source: string): string[] => [
  `business as materialized (select * from ${source})`,
  `deduped as (
    insert into dedupe (key, event_id, public_event_id, jobs_count, until)
    select distinct on (key) key, event_id, public_event_id, jobs_count, now() + make_interval(secs => window_seconds)
    from business where event_id in (select id from unknown) order by key, event_id
    on conflict (key) do update set event_id = excluded.event_id, public_event_id = excluded.public_event_id,
      jobs_count = excluded.jobs_count, until = excluded.until
      where dedupe.until <= now()
    returning event_id)`,
  `fresh as materialized (
    select * from unknown
    where id not in (select event_id from business) or id in (select event_id from deduped))`,
]

/** Waits for the locks of `collapseParts`. */
export const AFTER_COLLAPSE = 'where (select count(*) from collapsed) >= 0'
