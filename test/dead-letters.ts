import { STATES } from '../src/core/delivery.ts'
import type { JsonObject } from '../src/core/json.ts'
import { idGenerator } from '../src/core/id.ts'
import type { Queryable } from '../src/db/db.ts'

const nextId = idGenerator(() => 250)

export type Burial = {
  companyId?: string
  kind?: 'failed' | 'uncertain'
  reason?: string
  channel?: string
  type?: string
  userId?: string
  title?: string
  body?: string
  data?: JsonObject
  vars?: JsonObject
  templateId?: string
  eventTypeId?: string
  attempts?: number
  expiresInSeconds?: number
  isCancelled?: boolean
  daysAgo?: number
}

/** Puts dead letters as workers leave them, each with an event of its own; returns the row ids of the deliveries. */
export async function bury(db: Queryable, count: number, burial: Burial = {}): Promise<string[]> {
  const { kind = 'failed', type = 'test.happened', userId = 'anna', attempts = 3 } = burial
  const event = {
    user_id: userId,
    type,
    ...(burial.title !== undefined && { title: burial.title }),
    ...(burial.body !== undefined && { body: burial.body }),
    data: burial.data ?? {},
  }
  const ids = Array.from({ length: count }, () => ({ event: nextId(), delivery: nextId() }))
  await db.query(BURY, [
    ids.map((it) => it.event),
    ids.map((it) => it.delivery),
    burial.companyId ?? '',
    type,
    burial.eventTypeId ?? null,
    JSON.stringify(event),
    burial.channel ?? 'email',
    userId,
    burial.vars ? JSON.stringify(burial.vars) : null,
    kind === 'failed' ? STATES.failed : STATES.uncertain,
    attempts,
    burial.expiresInSeconds ?? null,
    burial.templateId ?? null,
    burial.reason ?? 'refused',
    kind,
    burial.isCancelled ?? false,
    burial.daysAgo ?? 0,
  ])
  return ids.map((it) => it.delivery)
}

const BURY = `
with ids as (
  select * from unnest($1::bigint[], $2::bigint[]) as ids(event_row_id, delivery_id)
),
e as (
  insert into event (id, company_id, event_id, type, event_type_id, payload, lane, priority, cancelled_at)
  select event_row_id, $3, event_row_id::text, $4,
    coalesce($5::bigint, (select id from event_type where type = $4 order by id limit 1), 0),
    $6::text::jsonb || jsonb_build_object('id', event_row_id::text), 0, 1, case when $16 then now() end
  from ids
),
d as (
  insert into delivery (id, event_id, notification_id, company_id, channel, user_id, vars, lane, priority, state, attempt,
    crashes, run_at, expires_at, finished_at, template_id, reason)
  select delivery_id, event_row_id, delivery_id, $3, $7, $8, $9::text::jsonb, 0, 1, $10, $11, 1, now(),
    now() + make_interval(secs => $12), now(), $13, $14
  from ids
),
a as (
  insert into attempt_log (delivery_id, n, at, verdict, message)
  select delivery_id, n, now() - make_interval(days => $17, secs => ($11 - n)::float8), 'retry', $14
  from ids, generate_series(1, $11::integer) n
)
insert into dead (delivery_id, at, kind, reason)
select delivery_id, now() - make_interval(days => $17), $15, $14 from ids`
