import type { Level } from '../core/event.ts'
import type { JsonObject } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'

/** One planned event as rows to be. Ids are row ids; `keys` are hashes that must never have been seen before. */
export type EventRows = {
  id: string
  keys: string[]
  body_hash: string
  company_id: string
  event_id: string
  type: string
  event_type_id: string
  payload: JsonObject
  jobs_count: number
  lane: number
  priority: number
  cancellation_key: string | null
  /** Those that are shown as the event is accepted, in its own words; the others are written when they are. */
  notifications: { id: string; user_id: string; level: Level; is_read: boolean; collapse_key: string | null }[]
  deliveries: {
    id: string
    notification_id: string
    user_id: string
    channel: string
    send_after: string | null
    expires_at: string | null
    time_to_live_seconds: number | null
    is_inbox: boolean
  }[]
  traces: { user_id: string | null; channel: string | null; reason: string }[]
}

/** Deliveries that are stored as claimed already, by the process that accepts them: each with the lease it is under. */
export type Instant = { workerId: string; leaseSeconds: number; deliveries: { id: string; leaseId: string }[] }

/** The place that a notification got in its inbox. A later event of the same collapse key keeps the first one's id. */
export type Place = { id: string; seq: string; shown_at: string }

export type StoredEvents = {
  /** Row ids of the events that were stored; the others had a key that exists already. */
  ids: Set<string>
  placeOf: (eventId: string, userId: string) => Place | undefined
}

/**
 * Stores events with their idempotency keys, notifications, deliveries and queue rows in one statement. Of an event with
 * a known key nothing is stored but possibly another of its keys, so events with several keys must run in a transaction
 * that rolls back.
 *
 * Keys and inboxes are taken in one order everywhere, so that concurrent statements wait for each other instead of
 * deadlocking. No two notifications of one call may share (company, user, collapse_key): a statement updates a row once.
 */
export async function acceptEvents(
  db: Queryable,
  events: readonly EventRows[],
  instant?: Instant,
): Promise<StoredEvents> {
  const rows = await db.query<{ event_id: string; user_id: string | null } & Place>(ACCEPT, [
    JSON.stringify(events.map(({ notifications: _n, deliveries: _d, traces: _t, ...event }) => event)),
    JSON.stringify(childrenOf(events, 'notifications')),
    JSON.stringify(childrenOf(events, 'deliveries')),
    JSON.stringify(childrenOf(events, 'traces')),
    instant?.deliveries.map(({ id }) => id) ?? [],
    instant?.deliveries.map(({ leaseId }) => leaseId) ?? [],
    instant?.workerId ?? null,
    instant?.leaseSeconds ?? 0,
  ])
  const places = new Map(rows.map(({ event_id, user_id, ...place }) => [`${event_id} ${user_id}`, place]))
  return {
    ids: new Set(rows.map((row) => row.event_id)),
    placeOf: (eventId, userId) => places.get(`${eventId} ${userId}`),
  }
}

const childrenOf = (events: readonly EventRows[], name: 'notifications' | 'deliveries' | 'traces') =>
  events.flatMap((event) => event[name].map((child) => ({ event_id: event.id, ...child })))

const ACCEPT = `
with input as materialized (
  select * from jsonb_to_recordset($1::text::jsonb) as x(
    id bigint, keys uuid[], body_hash text, company_id text, event_id text, type text, event_type_id bigint,
    payload jsonb, jobs_count integer, lane smallint, priority smallint, cancellation_key text)
),
new_keys as (
  insert into idem (key, event_id, body_hash)
  select k.key, input.id, decode(input.body_hash, 'hex') from input, unnest(input.keys) as k(key) order by k.key
  on conflict do nothing
  returning event_id
),
fresh as materialized (
  select input.* from input
  left join (select event_id as id, count(*) as count from new_keys group by 1) as taken using (id)
  where cardinality(keys) = coalesce(taken.count, 0)
),
stored as (
  insert into event (id, company_id, event_id, type, event_type_id, payload, jobs_count, lane, priority, cancellation_key)
  select id, company_id, event_id, type, event_type_id, payload, jobs_count, lane, priority, cancellation_key from fresh
  returning id
),
told as materialized (
  select fresh.company_id, fresh.event_id as public_event_id, fresh.type, fresh.payload ->> 'title' as title,
    fresh.payload ->> 'body' as body, fresh.payload -> 'cta' as cta, fresh.payload -> 'data' as data, n.*
  from jsonb_to_recordset($2::text::jsonb) as n(
    id bigint, event_id bigint, user_id text, level text, is_read boolean, collapse_key text)
  join fresh on fresh.id = n.event_id
),
heads as (
  insert into inbox (company_id, user_id, head)
  select company_id, user_id, count(*) from told group by 1, 2 order by 1, 2
  on conflict (company_id, user_id) do update set head = inbox.head + excluded.head
  returning company_id, user_id, head
),
numbered as (
  select told.*, heads.head - count(*) over whole + row_number() over (whole order by told.id) as seq
  from told join heads using (company_id, user_id)
  window whole as (partition by told.company_id, told.user_id)
),
noted as (
  insert into notification (id, event_id, public_event_id, company_id, user_id, type, level, seq, title, body, cta, data,
    collapse_key, read_at)
  select id, event_id, public_event_id, company_id, user_id, type, level, seq, title, body, cta, data,
    collapse_key, case when is_read then now() end
  from numbered
  order by company_id, user_id, collapse_key
  on conflict (company_id, user_id, collapse_key) where collapse_key is not null and archived_at is null
  do update set event_id = excluded.event_id, public_event_id = excluded.public_event_id, type = excluded.type, level = excluded.level, seq = excluded.seq,
    title = excluded.title, body = excluded.body, cta = excluded.cta, data = excluded.data,
    read_at = excluded.read_at, seen_at = null, snoozed_until = null
  returning id, event_id, user_id, seq, shown_at
),
delivered as (
  insert into delivery (id, event_id, notification_id, company_id, channel, user_id, lane, priority, run_at, expires_at)
  select d.id, d.event_id, coalesce(noted.id, d.notification_id), fresh.company_id, d.channel, d.user_id, fresh.lane,
    fresh.priority,
    -- What would expire before it is due is looked at when it expires.
    least(greatest(now(), d.send_after), over.at), over.at
  from jsonb_to_recordset($3::text::jsonb) as d(
    id bigint, event_id bigint, notification_id bigint, user_id text, channel text, send_after timestamptz,
    expires_at timestamptz, time_to_live_seconds double precision)
  cross join lateral (
    select least(d.expires_at, greatest(now(), d.send_after) + make_interval(secs => d.time_to_live_seconds)) as at
  ) as over
  join fresh on fresh.id = d.event_id
  left join noted on noted.event_id = d.event_id and noted.user_id = d.user_id
  returning id, lane, priority, run_at
),
queued as (
  insert into ready (lane, priority, run_at, id)
  select lane, priority, run_at, id from delivered where id <> all($5::bigint[])
),
leased as (
  insert into lease (id, worker, lane, until, ids)
  select claimed.lease_id, $7, min(lane), now() + make_interval(secs => $8), array_agg(id)
  from delivered join unnest($5::bigint[], $6::bigint[]) as claimed(id, lease_id) using (id)
  group by claimed.lease_id
),
traced as (
  insert into trace (event_id, user_id, channel, reason)
  select t.event_id, t.user_id, t.channel, t.reason
  from jsonb_to_recordset($4::text::jsonb) as t(event_id bigint, user_id text, channel text, reason text)
  join fresh on fresh.id = t.event_id
)
select stored.id as event_id, noted.user_id, noted.id, noted.seq, noted.shown_at
from stored left join noted on noted.event_id = stored.id`
