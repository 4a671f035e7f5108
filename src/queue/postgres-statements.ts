import { LANES } from '../core/event.ts'
import { STATES } from '../core/delivery.ts'
import { IS_CANCELLED, IS_SUPERSEDED } from '../store/withdrawn.ts'

/** Where a delivery that was claimed, and not begun, goes back to. */
const LANE_AND_FLOW = {
  lane: `case when attempt > 0 then ${LANES.retry} else lane end`,
  flow: 'case when attempt > 0 then 0 else flow_of(company_id, campaign_id) end',
}

/**
 * $1 lease id, $2 delivery ids, $3 intent id, $4 lease seconds. Prolonging the lease in the same statement is what
 * closes the race with a takeover: one that read the lease as over finds the row changed, and lets go of it. That its time
 * was over matters to nobody before it is taken over: the database may have been away.
 */
export const START = `
with held as (
  update lease set until = now() + make_interval(secs => $4) where id = $1 returning ids
),
allowed as (
  select delivery.id from held, delivery join event on event.id = delivery.event_id
  where delivery.id = any($2::bigint[]) and delivery.id = any(held.ids) and delivery.state = ${STATES.ready}
    and not ${IS_CANCELLED} and not ${IS_SUPERSEDED}
),
noted as (
  insert into intent (id, lease_id, ids) select $3, $1, array_agg(id) from allowed having count(*) > 0
)
select id from allowed`

/**
 * $1 lease id, $2 ids that were not begun, though the lease was taken as started, or a note says that they were; null: of a
 * lease that was taken as started, none was. What was started but never finished stays with the lease, to be recovered as
 * uncertain when it ends. The lease is locked before anything is read from it: one that is being taken over gives back
 * nothing.
 */
export const RELEASE = `
with held as materialized (
  select ids, started from lease where id = $1 for update
),
started as materialized (
  (
    select unnest(intent.ids) as id from held, intent where lease_id = $1
    union
    select unnest(ids) from held where started and $2::bigint[] is not null
  )
  except select unnest($2::bigint[])
),
unstarted as materialized (
  select unnest(ids) as id from held except select id from started
),
open as materialized (
  select id from started intersect select unnest(ids) from held
),
kept as (
  update lease set ids = array(select id from open) where id = $1 and exists (select from open)
),
ended as (
  delete from lease using held where lease.id = $1 and not exists (select from open) returning lease.id
),
cleared as (
  delete from intent where lease_id in (select id from ended)
)
insert into ready (channel, lane, priority, flow, run_at, id)
select channel_number(channel), ${LANE_AND_FLOW.lane}, priority, ${LANE_AND_FLOW.flow}, run_at, delivery.id
from delivery join unstarted on delivery.id = unstarted.id
where state = ${STATES.ready}
on conflict do nothing`

/** Why a delivery waits whose last attempt a worker did not survive. */
export const WORKER_DIED = 'the worker died while sending'

/** $1 lease id, $2 seconds. */
export const RENEW = `
update lease set until = now() + make_interval(secs => $2) where id = $1 returning id`

/**
 * $1 channels that resend, $2 crashes that are too many, $3 seconds before a resend. What had begun is asked of each lease
 * by itself: what one had begun, and given away, may be in another that ends at the same time.
 */
export const RECOVER = `
with over as (
  select id, ids, started from lease where until < now() order by id limit 100 for update skip locked
),
ended as (
  delete from lease using over where lease.id = over.id
),
cleared as (
  delete from intent using over where intent.lease_id = over.id returning intent.lease_id, intent.ids
),
orphaned as (
  -- Written while their lease ended, by a statement whose answer nobody heard.
  delete from intent where not exists (select from lease where lease.id = intent.lease_id)
),
held as materialized (
  select id as lease_id, unnest(ids) as id from over
),
started as materialized (
  select lease_id, unnest(ids) as id from cleared union select id, unnest(ids) from over where started
),
returned as (
  insert into ready (channel, lane, priority, flow, run_at, id)
  select channel_number(channel), ${LANE_AND_FLOW.lane}, priority, ${LANE_AND_FLOW.flow}, run_at, delivery.id
  from delivery join (select lease_id, id from held except select lease_id, id from started) as idle using (id)
  where state = ${STATES.ready}
  on conflict do nothing
  returning id
),
crashed as (
  update delivery set
    attempt = attempt + 1,
    crashes = crashes + 1,
    state = case
      when crashes + 1 >= $2 then ${STATES.failed}
      when channel = any($1::text[]) then ${STATES.ready}
      else ${STATES.uncertain} end,
    finished_at = case when crashes + 1 >= $2 or channel <> all($1::text[]) then now() end,
    run_at = least(now() + make_interval(secs => $3), expires_at),
    reason = '${WORKER_DIED}'
  from (select lease_id, id from held intersect select lease_id, id from started) as open
  where delivery.id = open.id and state = ${STATES.ready}
  returning delivery.id, channel, priority, run_at, attempt, state
),
requeued as (
  insert into ready (channel, lane, priority, run_at, id)
  select channel_number(channel), ${LANES.retry}, priority, run_at, id from crashed where state = ${STATES.ready}
),
logged as (
  insert into attempt_log (delivery_id, n, verdict, message)
  select id, attempt, 'uncertain', '${WORKER_DIED}' from crashed
),
buried as (
  insert into dead (delivery_id, kind, reason)
  select id, case state when ${STATES.failed} then 'failed' else 'uncertain' end, '${WORKER_DIED}'
  from crashed where state <> ${STATES.ready}
  on conflict (delivery_id) do update set at = now(), kind = excluded.kind, reason = excluded.reason
)
select (select count(*)::integer from returned) as returned,
  count(*) filter (where state = ${STATES.ready})::integer as resent,
  count(*) filter (where state = ${STATES.uncertain})::integer as held,
  count(*) filter (where state = ${STATES.failed})::integer as failed
from crashed`
