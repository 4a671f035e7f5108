import { LANES, type Lane } from '../src/core/event.ts'
import type { Db } from '../src/db/db.ts'

export type DeliveryOptions = {
  lane?: Lane
  priority?: number
  inSeconds?: number
  expiresInSeconds?: number
  channel?: string
  companyId?: string
  campaignId?: number
}

/** Puts deliveries, each of an event of its own, into the queue; their ids in the order in which they were added. */
export async function addDeliveries(
  db: Db,
  nextId: () => string,
  count: number,
  {
    lane = 'p2p',
    priority = 1,
    inSeconds = 0,
    expiresInSeconds,
    channel = 'email',
    companyId = '',
    campaignId,
  }: DeliveryOptions = {},
): Promise<string[]> {
  const events = Array.from({ length: count }, nextId)
  const ids = Array.from({ length: count }, nextId)
  await db.query(ADD, [
    events,
    ids,
    LANES[lane],
    priority,
    channel,
    inSeconds,
    expiresInSeconds ?? null,
    companyId,
    campaignId ?? null,
  ])
  return ids
}

const ADD = `
with added as (
  select * from unnest($1::bigint[], $2::bigint[]) as a(event_id, id)
),
e as (
  insert into event (id, company_id, event_id, type, event_type_id, payload, lane, priority)
  select event_id, $8, event_id::text, 'job.done', 1, jsonb_build_object('type', 'job.done', 'data', '{}'::jsonb), $3, $4
  from added
),
d as (
  insert into delivery (id, event_id, notification_id, company_id, campaign_id, channel, user_id, lane, priority, run_at,
    expires_at)
  select id, event_id, 1, $8, $9, $5, 'anna', $3, $4, now() + make_interval(secs => $6), now() + make_interval(secs => $7)
  from added
  returning *
)
insert into ready (channel, lane, priority, flow, run_at, id)
select channel_number(channel), lane, priority,
  case when lane < ${LANES.retry} and run_at <= now() then flow_of(company_id, campaign_id) else 0 end, run_at, id
from d`
