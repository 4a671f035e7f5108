import { STATES } from '../core/delivery.ts'
import { IS_CANCELLED, IS_SUPERSEDED } from '../store/withdrawn.ts'
import { WORKER_DIED } from './postgres-statements.ts'

/** How many parameters `claimParts` takes. */
export const CLAIM_PARAMS = 12

/**
 * Parameters from $`first` on: channel number, lane; priority, first flow, last flow, earliest run_at and quota of each
 * span, in the order in which they are served; limit; worker, lease id, lease seconds, as started.
 *
 * A later span is only looked at, and locked, when those before it do not fill the limit. Deliveries that were cancelled
 * between their commit and this claim fall out of it. Rows are found by arrays of ids, within bounds: a plan that was made
 * for small tables must not read large ones, nor all of their partitions.
 */
export function claimParts(first: number, { isAlone = false } = {}): string {
  const [channel, lane, priorities, from, to, since, quotas, limit, worker, lease, seconds, started] = Array.from(
    { length: CLAIM_PARAMS },
    (_, index) => `$${first + index}`,
  )
  return `
taken as (
  delete from ready where ctid = any(array(
    select one.ctid
    from unnest(${priorities}::smallint[], ${from}::bigint[], ${to}::bigint[], ${since}::timestamptz[], ${quotas}::integer[])
      as span(priority, from_flow, to_flow, since, quota)
    cross join lateral (
      select ctid from ready
      where channel = ${channel} and lane = ${lane} and priority = span.priority
        and flow >= span.from_flow and flow <= span.to_flow and run_at <= now() and run_at >= span.since
      order by channel, lane, priority, flow, run_at, id
      limit span.quota
      for update skip locked
    ) as one
    limit ${limit}
  ))
  returning id, priority, flow, run_at
),
wanted as materialized (
  select array_agg(id) as ids, min(id) as least, max(id) as most from taken
),
found as materialized (
  select id, company_id, user_id, notification_id, nullif(attempt - attempts_before, 0) as attempt,
    nullif(crashes, 0) as crashes, vars, pinned_template_id, event_id, priority, run_at,
    nullif(expires_at <= now(), false) as is_expired, nullif(thread is not null, false) as is_ordered,
    nullif(reason = '${WORKER_DIED}', false) as is_suspect,
    lag(event_id) over served is distinct from event_id as is_first
  from delivery
  where id = any((select ids from wanted)::bigint[]) and id >= (select least from wanted)
    and id <= (select most from wanted) and state = ${STATES.ready}
  window served as (order by priority, run_at, id)
),
happened as materialized (
  select array_agg(event_id) as ids, min(event_id) as least, max(event_id) as most from found where is_first
),
leased as (
  insert into lease (id, worker, lane, until, ids, started)
  select ${lease}, ${worker}, ${lane}, now() + make_interval(secs => ${seconds}), array_agg(id order by id), ${started}
  from found having count(*) > 0${isAlone ? ` and ${hurried(started)}` : ''}
),
took as (
  select jsonb_agg(jsonb_build_array(priority, flow::text, count, last)) as took
  from (select priority, flow, count(*), max(run_at) as last from taken group by priority, flow) as flows
)`
}

/**
 * The first row bears what was taken of each flow, and `recorded`; those of what was claimed follow, most urgent first. An
 * event that many deliveries share comes with the first of them. What is the same for nearly all is null: it need neither
 * be written nor read. Deliveries and events are put together by a full join, as that one never compares each with each.
 */
export const claimAnswer = (recorded = 'null::bigint[]'): string => `
select null::bigint as id, null as company_id, null as user_id, null::bigint as notification_id, null::integer as attempt,
  null::smallint as crashes, null::jsonb as vars, null::bigint as pinned_template_id, null::bigint as event_row_id,
  null::bigint as event_type_id, null::json as event, null::boolean as is_expired, null::boolean as is_cancelled,
  null::boolean as is_superseded, null::boolean as is_ordered, null::boolean as is_suspect, (select took from took) as took, ${recorded} as recorded
union all (
  select delivery.id, delivery.company_id, user_id, notification_id, attempt, crashes, vars, pinned_template_id, event.id,
    case when is_first then event_type_id end, case when is_first then payload end, is_expired,
    nullif(${IS_CANCELLED}, false), nullif(${IS_SUPERSEDED}, false), is_ordered, is_suspect, null, null
  from found as delivery
  full join (
    select * from event
    where id = any((select ids from happened)::bigint[]) and id >= (select least from happened)
      and id <= (select most from happened)
  ) as event on event.id = delivery.event_id
  order by delivery.priority, run_at, delivery.id
)`

export const CLAIM = `with ${claimParts(1, { isAlone: true })} ${claimAnswer()}`

/**
 * A claim that does not count as begun need not wait for the disk. If a crash of the database loses it, it loses every note
 * that came after it as well: of what is noted nothing was begun, and the rest may be sent twice.
 */
function hurried(started = ''): string {
  return `case when ${started} then true else set_config('synchronous_commit', 'off', true) = 'off' end`
}

/** $1 channel numbers, $2 lanes, $3 priorities, $4 first flows, $5 last flows, $6 for each of these the earliest run_at. */
export const DUE = `
select distinct span.channel, span.lane
from unnest($1::smallint[], $2::smallint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::timestamptz[])
  as span(channel, lane, priority, from_flow, to_flow, since)
cross join lateral (
  select from ready
  where channel = span.channel and lane = span.lane and priority = span.priority
    and flow >= span.from_flow and flow <= span.to_flow and run_at <= now() and run_at >= span.since
  order by channel, lane, priority, flow, run_at, id
  limit 1
) as one`

/** $1 names of channels; each has a number afterwards. */
export const CHANNEL_NUMBERS = `
select name, channel_number(name) as number from unnest($1::text[]) as name`
