import type { Queryable } from '../db/db.ts'
import { filterParameters, fitting, IS_EXPIRED, type LetterFilter, type LetterKind } from './dead-letters.ts'
import type { TemplateChoice } from './requeue.ts'
import { IS_CANCELLED } from './withdrawn.ts'

/** What a replay goes through: one kind of dead letters, as what may have arrived is sent again only on purpose. */
export type ReplayFilter = LetterFilter & { kind: LetterKind }

/** One sending again of all dead letters that fit a filter. */
export type Replay = {
  id: string
  company_id: string
  started_by: string
  filter: ReplayFilter
  template: TemplateChoice
  rate_per_second: number
  status: 'running' | 'done' | 'stopped'
  /** Letters that could be sent at the start. */
  total: number
  requeued: number
  /** Left where they are: too late to be sent. */
  expired: number
  /** Left where they are: their event was cancelled. */
  cancelled: number
  created_at: string
  finished_at: string | null
}

export type NewReplay = Pick<Replay, 'id' | 'company_id' | 'started_by' | 'filter' | 'template' | 'rate_per_second'> & {
  idempotency_key: string
  /** SHA-256 of the request, hexadecimal. */
  body_hash: string
  expected_count?: number | undefined
}

const COLUMNS = `id, company_id, started_by, filter, template, rate_per_second, status, total, requeued, expired, cancelled,
  created_at, finished_at`

/**
 * Starts a replay. Null, and nothing is started, when the key was used, when one with this filter is running, or when the
 * letters are not as many as expected.
 */
export async function insertReplay(db: Queryable, replay: NewReplay): Promise<Replay | null> {
  const [inserted] = await db.query<Replay>(
    `with counted as (
       select count(*) filter (where not ${IS_EXPIRED} and not ${IS_CANCELLED})::integer as total from ${fitting()}
     )
     insert into replay (id, company_id, started_by, idempotency_key, body_hash, filter, template, rate_per_second, total)
     select $8, $1, $9, $10, decode($11, 'hex'), $12::text::jsonb, $13, $14, total
     from counted where $15::integer is null or total = $15
     on conflict do nothing
     returning ${COLUMNS}`,
    [
      ...filterParameters(replay.company_id, replay.filter),
      replay.id,
      replay.started_by,
      replay.idempotency_key,
      replay.body_hash,
      JSON.stringify(replay.filter),
      replay.template,
      replay.rate_per_second,
      replay.expected_count ?? null,
    ],
  )
  return inserted ?? null
}

/** The replay that was started with this key, and whether by the same request; else the running one with this filter. */
export async function findLikeReplay(
  db: Queryable,
  replay: NewReplay,
): Promise<(Replay & { has_key: boolean; has_body: boolean }) | null> {
  const [found] = await db.query<Replay & { has_key: boolean; has_body: boolean }>(
    `select ${COLUMNS}, idempotency_key = $2 as has_key, body_hash = decode($3, 'hex') as has_body from replay
     where company_id = $1
       and (idempotency_key = $2 or (status = 'running' and md5(filter::text) = md5($4::text::jsonb::text)))
     order by idempotency_key = $2 desc limit 1`,
    [replay.company_id, replay.idempotency_key, replay.body_hash, JSON.stringify(replay.filter)],
  )
  return found ?? null
}

export async function findReplay(db: Queryable, companyId: string, id: string): Promise<Replay | null> {
  const [found] = await db.query<Replay>(`select ${COLUMNS} from replay where company_id = $1 and id = $2`, [
    companyId,
    id,
  ])
  return found ?? null
}

/** Ends a running replay where it is; what it has put back is sent. Returns the replay, or null when there is none. */
export async function stopReplay(db: Queryable, companyId: string, id: string): Promise<Replay | null> {
  const [stopped] = await db.query<Replay>(
    `update replay set
       status = case status when 'running' then 'stopped' else status end,
       finished_at = coalesce(finished_at, now())
     where company_id = $1 and id = $2
     returning ${COLUMNS}`,
    [companyId, id],
  )
  return stopped ?? null
}

/** A replay as a page of it needs it; `sent_until` is when the last letter that it put back is due. */
export type DueReplay = Replay & { cursor: string; sent_until: string }

/**
 * A running replay whose letters are put back for less than `aheadSeconds`, held until the end of the transaction: other
 * processes take another one.
 */
export async function takeReplay(tx: Queryable, aheadSeconds: number): Promise<DueReplay | null> {
  const [replay] = await tx.query<DueReplay>(
    `select ${COLUMNS}, cursor, sent_until from replay
     where status = 'running' and sent_until < now() + make_interval(secs => $1)
     order by sent_until limit 1
     for update skip locked`,
    [aheadSeconds],
  )
  return replay ?? null
}

/** A letter that a replay comes by; `fits` its filter or not. */
export type PassedLetter = { id: string; fits: boolean; is_expired: boolean; is_cancelled: boolean }

/**
 * The next letters that a replay comes by, of those that were dead when it started. A fixed number of them is looked at,
 * whatever fits, so that a page costs the same at any place of any backlog.
 */
export const lettersToReplay = (
  tx: Queryable,
  { company_id, filter, created_at, cursor }: DueReplay,
  limit: number,
): Promise<PassedLetter[]> =>
  tx.query<PassedLetter>(
    `with passed as materialized (
       select delivery_id, kind, at, reason_group from dead where delivery_id > $9::bigint and at <= $8::timestamptz
       order by delivery_id limit $10
     ),
     fitting as materialized (
       select delivery.id, ${IS_EXPIRED} as is_expired, ${IS_CANCELLED} as is_cancelled
       from ${fitting('passed as dead')}
     )
     select passed.delivery_id as id, fitting.id is not null as fits, coalesce(is_expired, false) as is_expired,
       coalesce(is_cancelled, false) as is_cancelled
     from passed left join fitting on fitting.id = passed.delivery_id
     order by passed.delivery_id`,
    [...filterParameters(company_id, filter), created_at, cursor, limit],
  )

export type Page = {
  cursor: string
  requeued: number
  expired: number
  cancelled: number
  /** How long what was put back takes at the replay's rate. */
  seconds: number
  isLast: boolean
}

/** Notes how far a replay has come. */
export async function advanceReplay(tx: Queryable, id: string, page: Page): Promise<void> {
  await tx.query(
    `update replay set
       cursor = $2, requeued = requeued + $3, expired = expired + $4, cancelled = cancelled + $5,
       sent_until = greatest(now(), sent_until) + make_interval(secs => $6),
       status = case when $7 then 'done' else status end,
       finished_at = case when $7 then now() end
     where id = $1`,
    [id, page.cursor, page.requeued, page.expired, page.cancelled, page.seconds, page.isLast],
  )
}
