import type { Flow } from '../core/account.ts'
import { MAX_STOP_SECONDS } from '../core/account-stop.ts'
import type { Stop } from '../core/queue-health.ts'
import type { Queryable } from '../db/db.ts'

/** Slots that were taken; times in seconds from the moment of taking. */
export type TakenSlots = {
  /** Slots of the even flow: `evenCount` of them, the first at `firstInSeconds`, each an interval after the one before. */
  evenCount: number
  firstInSeconds: number
  /** Slots out of the reserve, at once. */
  reserveCount: number
  /** When the even flow has its next slot. */
  nextInSeconds: number
  /** The provider takes nothing for so long; 0: it is not stopped. */
  stoppedSeconds: number
}

/** Where processes hear that an account was stopped. */
export const ACCOUNT_STOPS = 'eventcenter_account_stops'

/**
 * Takes up to `wanted` slots of an account, by the arithmetic of `core/account-bucket.ts`. Time is the database's. The
 * commit is not waited for: what a crash of the database forgets is less than its restart takes.
 */
export async function takeSlots(
  db: Queryable,
  { account, channel }: { account: string; channel: string },
  { intervalSeconds, burst, horizonSeconds, permits, permitSize, cooldownSeconds }: Flow,
  wanted: number,
  isForPerson: boolean,
): Promise<TakenSlots> {
  const params = [
    account,
    wanted,
    intervalSeconds,
    burst,
    isForPerson ? 2 * horizonSeconds : horizonSeconds,
    isForPerson ? permits : 0,
    permitSize,
    cooldownSeconds,
    MAX_STOP_SECONDS,
    2 * (horizonSeconds + intervalSeconds),
  ]
  const [taken] = await db.query<TakenSlots>(TAKE, params)
  if (taken) return taken
  await db.query('insert into account_bucket (account, channel) values ($1, $2) on conflict do nothing', [
    account,
    channel,
  ])
  const [first] = await db.query<TakenSlots>(TAKE, params)
  if (!first) throw new Error(`the bucket of ${account} is gone`)
  return first
}

/**
 * Stops an account for so many seconds, never for less than it is stopped already. `isNew`: it was not stopped before, so
 * that one of many processes tells of it. All of them hear of it. A clock that was set back makes no stop longer either.
 */
export async function stopAccount(
  db: Queryable,
  { account, channel }: { account: string; channel: string },
  seconds: number,
): Promise<{ seconds: number; isNew: boolean }> {
  const [row] = await db.query<{ seconds: number; is_new: boolean }>(
    `insert into account_bucket as bucket (account, channel, stopped_at, stopped_until)
     values ($1, $2, now(), now() + make_interval(secs => least($3::float8, $4::float8)))
     on conflict (account) do update set
       stopped_at = case when bucket.stopped_until > now() then bucket.stopped_at else now() end,
       stopped_until = least(greatest(bucket.stopped_until, excluded.stopped_until), now() + make_interval(secs => $4::float8))
     returning extract(epoch from stopped_until - now())::float8 as seconds, stopped_at = now() as is_new,
       pg_notify($5, '')`,
    [account, channel, seconds, MAX_STOP_SECONDS, ACCOUNT_STOPS],
  )
  return { seconds: row?.seconds ?? 0, isNew: row?.is_new ?? false }
}

/** The accounts that are stopped now. */
export const stoppedAccounts = (db: Queryable): Promise<Stop[]> =>
  db.query(
    `select account, channel, extract(epoch from until - now())::float8 as seconds, until
     from account_bucket, least(stopped_until, now() + make_interval(secs => $1::float8)) as until
     where stopped_until > now() order by account`,
    [MAX_STOP_SECONDS],
  )

/**
 * $1 account, $2 wanted, $3 interval, $4 burst, $5 horizon, $6 parts of the reserve, $7 size of a part, $8 its cooldown,
 * $9 longest stop, $10 how far ahead the even flow can be; all times in seconds. What is set follows from the row alone, so that concurrent takes, of which each
 * waits for the one before, count on from what it left.
 */
const TAKE = `
with quick as materialized (select set_config('synchronous_commit', 'off', true))
update account_bucket as bucket set (at, next_at, reserve_used, even_granted, reserve_granted) = (
  select clock, first_at + even * step, recent || array_fill(clock, array[parts]), even, parts * $7::integer
  from (select clock_timestamp() as clock, make_interval(secs => $3::float8) as step) as time,
  lateral (
    select least(greatest(next_at, clock - ($4::float8 - 1) * step), clock + make_interval(secs => $10::float8)) as first_at,
      array(
        select used from unnest(reserve_used) as used
        where used > clock - make_interval(secs => $8::float8) and used <= clock + make_interval(secs => $8::float8)
      ) as recent,
      case when stopped_until > clock then 0 else $2::integer end as wanted
  ) as state,
  lateral (
    select greatest(0, floor(extract(epoch from clock - first_at) / $3::float8 + 0.01) + 1)::integer as due,
      greatest(0, floor((extract(epoch from clock - first_at) + $5::float8) / $3::float8 + 0.01) + 1)::integer as possible
  ) as slots,
  lateral (
    select least(
      greatest(0, $6::integer - cardinality(recent)),
      ceil((wanted - least(wanted, due))::float8 / $7::integer)::integer
    ) as parts
  ) as reserve,
  lateral (
    select least(possible, greatest(least(wanted, due), wanted - parts * $7::integer)) as even
  ) as flow
)
from quick where account = $1
returning even_granted as "evenCount", reserve_granted as "reserveCount",
  (extract(epoch from next_at - at) - even_granted * $3::float8)::float8 as "firstInSeconds",
  extract(epoch from next_at - at)::float8 as "nextInSeconds",
  greatest(0, least(coalesce(extract(epoch from stopped_until - at), 0), $9::float8))::float8 as "stoppedSeconds"`
