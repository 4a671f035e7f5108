import { LANES } from '../core/event.ts'
import { STATES } from '../core/delivery.ts'
import { claimAnswer, claimParts } from './postgres-claim.ts'

/** How results are recorded: all of them `sent` or not, and all that is left under the lease or not, as far as is known. */
export type Finish = { isSent: boolean; isLast: boolean }

/*
 * A lease that is over but not taken over yet still counts: its results are facts. Recorded deliveries leave the lease, so
 * that a later end of it says nothing about them, and a result that is recorded again, because the answer to the first
 * time was lost, changes nothing. The last result ends the lease.
 *
 * $1 is the lease id, $2 the ids of the results, ascending.
 */

/** Of a lease that holds something else, nothing is recorded. */
const LAST = `
ended as (
  delete from lease where id = $1 and ids = $2::bigint[] returning id
),
cleared as (
  delete from intent where lease_id = $1 and exists (select from ended)
)`

const PART = `
held as materialized (
  select ids from lease where id = $1 for update
),
mine as materialized (
  select array(select unnest($2::bigint[]) intersect select unnest(ids) from held) as ids
),
rest as materialized (
  select array(select unnest(ids) except select unnest($2::bigint[]) order by 1) as ids from held
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
const isMine = ({ isLast }: Finish): string => `delivery.state = ${STATES.ready}
    and delivery.id >= ($2::bigint[])[1] and delivery.id <= ($2::bigint[])[cardinality($2::bigint[])]
    and ${isLast ? 'delivery.id = any($2::bigint[]) and exists (select from ended)' : 'delivery.id = any((select ids from mine)::bigint[])'}`

/** $3 results. */
const any = (finish: Finish): string => `
given as materialized (
  select * from jsonb_to_recordset($3::text::jsonb) as r(
    id bigint, state smallint, is_attempt boolean, template_id bigint, provider_id text, reason text, verdict text,
    kind text, after_seconds double precision)
),
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
  where delivery.id = result.id and ${isMine(finish)}
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
 * $3 template ids and $4 provider ids as objects by id; null: there are none. The table is joined with nothing: a plan that
 * expects few rows would compare each with each.
 */
const allSent = (finish: Finish): string => `
updated as (
  update delivery set
    state = ${STATES.sent},
    attempt = attempt + 1,
    finished_at = now(),
    template_id = case when $3::text is null then template_id
      else coalesce(((select $3::text::jsonb) ->> id::text)::bigint, template_id) end,
    provider_id = case when $4::text is null then provider_id
      else coalesce((select $4::text::jsonb) ->> id::text, provider_id) end,
    reason = null
  where ${isMine(finish)}
  returning id
)`

/** Null: all of them. */
const RECORDED = `(
  select case when count(*) < cardinality($2::bigint[]) then coalesce(array_agg(id), '{}') end from updated
)`

const parts = (finish: Finish): string =>
  `${finish.isLast ? LAST : PART}, ${finish.isSent ? allSent(finish) : any(finish)}`

const finishing = (finish: Finish): string => `with ${parts(finish)} select ${RECORDED} as recorded`

/** The parameters of the claim follow. */
const finishingAndClaiming = (finish: Finish): string =>
  `with ${parts(finish)}, ${claimParts(finish.isSent ? 5 : 4)} ${claimAnswer(RECORDED)}`

/** Each text is made once: connections know prepared statements by theirs. */
const each = (textOf: (finish: Finish) => string): ((finish: Finish) => string) => {
  const textFor = (isSent: boolean) => ({
    last: textOf({ isSent, isLast: true }),
    part: textOf({ isSent, isLast: false }),
  })
  const [sent, mixed] = [textFor(true), textFor(false)]
  return ({ isSent, isLast }) => (isSent ? sent : mixed)[isLast ? 'last' : 'part']
}

export const finishStatement = each(finishing)
export const finishAndClaimStatement = each(finishingAndClaiming)
