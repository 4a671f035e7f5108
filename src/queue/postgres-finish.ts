import { LANES } from '../core/event.ts'
import { STATES } from '../core/delivery.ts'
import { claimAnswer, claimParts } from './postgres-claim.ts'

/**
 * A lease that is over but not taken over yet still counts: its results are facts. Recorded deliveries leave the lease, so
 * that a later end of it says nothing about them, and a result that is recorded again, because the answer to the first
 * time was lost, changes nothing. The last result ends the lease.
 */
const HELD = `
held as materialized (
  select ids from lease where id = $1 for update
),
mine as materialized (
  select array(select id from given intersect select unnest(ids) from held) as ids
),
rest as materialized (
  select array(select unnest(ids) except select id from given) as ids from held
),
shrunk as (
  update lease set ids = rest.ids from rest where lease.id = $1 and cardinality(rest.ids) > 0
),
ended as (
  delete from lease using rest where lease.id = $1 and cardinality(rest.ids) = 0
),
cleared as (
  delete from intent using rest where lease_id = $1 and cardinality(rest.ids) = 0
)`

/** Bounds that are known before the statement runs leave all other partitions out of it. */
const isMine = (least: string, most: string): string => `delivery.id = any((select ids from mine)::bigint[])
    and delivery.id >= ${least} and delivery.id <= ${most} and delivery.state = ${STATES.ready}`

/** $1 lease id, $2 least and $3 greatest id of the results, $4 results. */
const ANY = `
given as materialized (
  select * from jsonb_to_recordset($4::text::jsonb) as r(
    id bigint, state smallint, is_attempt boolean, template_id bigint, provider_id text, reason text, verdict text,
    kind text, after_seconds double precision)
),
${HELD},
updated as (
  update delivery set
    state = result.state,
    attempt = attempt + case when result.is_attempt then 1 else 0 end,
    crashes = crashes + case when result.verdict = 'uncertain' then 1 else 0 end,
    finished_at = case when result.after_seconds is null then now() end,
    run_at = case when result.after_seconds is null then run_at
      else least(now() + make_interval(secs => result.after_seconds), expires_at) end,
    template_id = coalesce(result.template_id, delivery.template_id),
    provider_id = coalesce(result.provider_id, delivery.provider_id),
    reason = result.reason
  from given as result
  where delivery.id = result.id and ${isMine('$2', '$3')}
  returning delivery.id, delivery.channel, delivery.lane, delivery.priority, delivery.run_at, delivery.attempt,
    delivery.state, result.verdict, result.reason, result.kind
),
requeued as (
  insert into ready (channel, lane, priority, run_at, id)
  select channel_number(channel), case when attempt > 0 then ${LANES.retry} else lane end, priority, run_at, id
  from updated where state = ${STATES.ready}
),
logged as (
  insert into attempt_log (delivery_id, n, verdict, message)
  select id, attempt, verdict, reason from updated where verdict is not null
),
buried as (
  insert into dead (delivery_id, kind, reason) select id, kind, reason from updated where kind is not null
  on conflict (delivery_id) do update set at = now(), kind = excluded.kind, reason = excluded.reason
)`

/**
 * $1 lease id, $2 least and $3 greatest id, $4 ids, $5 template ids and $6 provider ids as objects by id. The same for
 * results that are all `sent`. The table is joined with nothing: a plan that expects few rows would compare each with each.
 */
const ALL_SENT = `
given as materialized (
  select unnest($4::bigint[]) as id
),
known as materialized (
  select $5::text::jsonb as template_ids, $6::text::jsonb as provider_ids
),
${HELD},
updated as (
  update delivery set
    state = ${STATES.sent},
    attempt = attempt + 1,
    finished_at = now(),
    template_id = coalesce(((select template_ids from known) ->> id::text)::bigint, template_id),
    provider_id = coalesce((select provider_ids from known) ->> id::text, provider_id),
    reason = null
  where ${isMine('$2', '$3')}
  returning id
)`

/** Null: all of them. */
const RECORDED = `(
  select case when count(*) < (select count(*) from given) then coalesce(array_agg(id), '{}') end from updated
)`

export const FINISH = `with ${ANY} select ${RECORDED} as recorded`
export const FINISH_SENT = `with ${ALL_SENT} select ${RECORDED} as recorded`

/** The parameters of the claim follow. */
export const FINISH_AND_CLAIM = `with ${ANY}, ${claimParts(5)} ${claimAnswer(RECORDED)}`
export const FINISH_SENT_AND_CLAIM = `with ${ALL_SENT}, ${claimParts(7)} ${claimAnswer(RECORDED)}`
