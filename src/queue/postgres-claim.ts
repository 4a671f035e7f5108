import { STATES } from '../core/delivery.ts'
import { IS_CANCELLED, IS_SUPERSEDED } from '../store/withdrawn.ts'

/**
 * $1 channel number, $2 lane, $3 priorities in the order in which they are served, $4 limit, $5 worker, $6 for each
 * priority the earliest run_at looked at, $7 lease id, $8 lease seconds, $9 as started. The rows of a later priority are only looked at,
 * and locked, when those before it do not fill the limit. Deliveries that were cancelled between their commit and this
 * claim fall out of it.
 */
export const CLAIM = `
with due as (
  select one.ctid from unnest($3::smallint[], $6::timestamptz[]) as served(priority, since)
  cross join lateral (
    select ctid from ready
    where channel = $1 and lane = $2 and priority = served.priority and flow = 0
      and run_at <= now() and run_at >= served.since
    order by channel, lane, priority, flow, run_at, id
    limit $4
    for update skip locked
  ) as one
  limit $4
),
taken as (
  delete from ready using due where ready.ctid = due.ctid returning ready.id, ready.priority, ready.run_at
),
claimed as (
  select delivery.id, taken.run_at, taken.priority, delivery.company_id, delivery.user_id, delivery.channel,
    delivery.notification_id, delivery.attempt - delivery.attempts_before as attempt, delivery.crashes, delivery.vars,
    delivery.pinned_template_id, delivery.event_id as event_row_id, event.event_type_id, event.payload as event,
    coalesce(delivery.expires_at <= now(), false) as is_expired, ${IS_CANCELLED} as is_cancelled,
    ${IS_SUPERSEDED} as is_superseded
  from taken join delivery on delivery.id = taken.id join event on event.id = delivery.event_id
  where delivery.state = ${STATES.ready}
),
leased as (
  insert into lease (id, worker, lane, until, ids, started)
  select $7, $5, $2, now() + make_interval(secs => $8), array_agg(id), $9 from claimed having count(*) > 0
)
select * from claimed order by priority, run_at, id`

/** $1 channel numbers, $2 lanes, $3 priorities, $4 for each of these the earliest run_at looked at. */
export const DUE = `
select distinct place.channel, place.lane
from unnest($1::smallint[], $2::smallint[], $3::smallint[], $4::timestamptz[]) as place(channel, lane, priority, since)
cross join lateral (
  select from ready
  where channel = place.channel and lane = place.lane and priority = place.priority and flow = 0
    and run_at <= now() and run_at >= place.since
  order by channel, lane, priority, flow, run_at, id
  limit 1
) as one`

/** $1 names of channels; each has a number afterwards. */
export const CHANNEL_NUMBERS = `
select name, channel_number(name) as number from unnest($1::text[]) as name`
