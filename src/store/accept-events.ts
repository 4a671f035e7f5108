import type { Queryable } from '../db/db.ts'
import type { JsonObject } from '../core/json.ts'

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
  notifications: JsonObject[]
  deliveries: JsonObject[]
  traces: JsonObject[]
}

/**
 * Stores events with their idempotency keys, notifications, deliveries and queue rows in one statement, and returns the
 * ids of those that were stored. The others had a key that exists already; of them nothing is stored but possibly
 * another of their keys, so events with several keys must run in a transaction that rolls back.
 *
 * Rows are inserted in key order everywhere, so that concurrent statements wait for each other instead of deadlocking.
 * No two notifications of one call may share (company, user, collapse_key): a statement updates a row once.
 */
export async function acceptEvents(db: Queryable, events: readonly EventRows[]): Promise<Set<string>> {
  const rows = await db.query<{ id: string }>(ACCEPT, [JSON.stringify(events)])
  return new Set(rows.map((row) => row.id))
}

const ACCEPT = `
with input as materialized (
  select * from jsonb_to_recordset($1::text::jsonb) as x(
    id bigint, keys uuid[], body_hash text, company_id text, event_id text, type text, event_type_id bigint,
    payload jsonb, jobs_count integer, lane smallint, priority smallint, cancellation_key text,
    notifications jsonb, deliveries jsonb, traces jsonb)
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
  select fresh.company_id, fresh.id as event_id, n.*
  from fresh, jsonb_to_recordset(fresh.notifications) as n(
    id bigint, user_id text, type text, level text, in_app boolean, is_shown boolean, is_read boolean,
    title text, body text, cta jsonb, data jsonb, collapse_key text)
),
heads as (
  insert into inbox (company_id, user_id, head)
  select company_id, user_id, count(*) from told where in_app and is_shown group by 1, 2 order by 1, 2
  on conflict (company_id, user_id) do update set head = inbox.head + excluded.head
  returning company_id, user_id, head
),
numbered as (
  select told.id, heads.head - count(*) over whole + row_number() over (whole order by told.id) as seq
  from told join heads using (company_id, user_id)
  where told.in_app and told.is_shown
  window whole as (partition by told.company_id, told.user_id)
),
noted as (
  insert into notification (id, event_id, company_id, user_id, type, level, in_app, seq, title, body, cta, data,
    collapse_key, shown_at, read_at)
  select told.id, event_id, company_id, user_id, type, level, in_app, seq, title, body, cta, data,
    collapse_key, case when is_shown then now() end, case when is_read then now() end
  from told left join numbered using (id)
  order by company_id, user_id, collapse_key
  on conflict (company_id, user_id, collapse_key) where collapse_key is not null and archived_at is null
  do update set event_id = excluded.event_id, type = excluded.type, level = excluded.level, seq = excluded.seq,
    title = excluded.title, body = excluded.body, cta = excluded.cta, data = excluded.data,
    read_at = excluded.read_at, seen_at = null, snoozed_until = null
  returning id, event_id, user_id
),
planned as (
  select fresh.company_id, fresh.id as event_id, fresh.lane, fresh.priority, d.*
  from fresh, jsonb_to_recordset(fresh.deliveries) as d(
    id bigint, user_id text, channel text, send_after timestamptz, expires_at timestamptz)
),
delivered as (
  insert into delivery (id, event_id, notification_id, company_id, channel, user_id, lane, priority, run_at, expires_at)
  select planned.id, planned.event_id, noted.id, company_id, channel, planned.user_id, lane, priority,
    -- What would expire before it is due is looked at when it expires.
    least(greatest(now(), send_after), expires_at), expires_at
  from planned join noted on noted.event_id = planned.event_id and noted.user_id = planned.user_id
  returning id, lane, priority, run_at
),
queued as (
  insert into ready (lane, priority, run_at, id) select lane, priority, run_at, id from delivered
),
traced as (
  insert into trace (event_id, user_id, channel, reason)
  select fresh.id, t.user_id, t.channel, t.reason
  from fresh, jsonb_to_recordset(fresh.traces) as t(user_id text, channel text, reason text)
)
select id from stored`
