import type { Event } from '../core/event.ts'
import type { JsonObject } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'
import { IS_CANCELLED } from './withdrawn.ts'

export const LETTER_KINDS = ['failed', 'uncertain'] as const
/** `failed`: used up or refused. `uncertain`: it may have arrived, and nobody can know. */
export type LetterKind = (typeof LETTER_KINDS)[number]

/** Which dead letters of a company; absent: all. `reason` is that of a group; times are RFC 3339. */
export type LetterFilter = {
  kind?: LetterKind
  channel?: string
  type?: string
  reason?: string
  since?: string
  until?: string
}

/** A dead letter as it is listed. `id` is the delivery's row id. */
export type DeadLetter = {
  id: string
  kind: LetterKind
  at: string
  reason: string
  reason_group: string
  event_id: string
  type: string
  channel: string
  user_id: string
  attempts_count: number
  expires_at: string | null
  is_expired: boolean
  /** Its event was cancelled. */
  is_cancelled: boolean
}

const joined = (dead: string): string =>
  `${dead} join delivery on delivery.id = dead.delivery_id join event on event.id = delivery.event_id`

/** The letters among `dead` that fit; parameters $1 to $7 are those of `filterParameters`. */
export const fitting = (dead = 'dead'): string => `${joined(dead)}
  where delivery.company_id = $1 and ($2::text is null or dead.kind = $2) and ($3::text is null or delivery.channel = $3)
    and ($4::text is null or event.type = $4) and ($5::text is null or dead.reason_group = $5)
    and ($6::timestamptz is null or dead.at >= $6) and ($7::timestamptz is null or dead.at < $7)`

export const filterParameters = (companyId: string, filter: LetterFilter): unknown[] => [
  companyId,
  filter.kind ?? null,
  filter.channel ?? null,
  filter.type ?? null,
  filter.reason ?? null,
  filter.since ?? null,
  filter.until ?? null,
]

export const IS_EXPIRED = 'coalesce(delivery.expires_at <= now(), false)'

const COLUMNS = `delivery.id, dead.kind, dead.at, dead.reason, dead.reason_group, event.event_id, event.type,
  delivery.channel, delivery.user_id, delivery.attempt as attempts_count, delivery.expires_at,
  ${IS_EXPIRED} as is_expired, ${IS_CANCELLED} as is_cancelled`

/** Dead letters, the newest first; `after` is the last one of the page before. */
export const listDeadLetters = (
  db: Queryable,
  companyId: string,
  filter: LetterFilter,
  { after, limit }: { after: { at: string; id: string } | null; limit: number },
): Promise<DeadLetter[]> =>
  db.query<DeadLetter>(
    `select ${COLUMNS} from ${fitting()} and ($8::timestamptz is null or (dead.at, dead.delivery_id) < ($8, $9::bigint))
     order by dead.at desc, dead.delivery_id desc limit $10`,
    [...filterParameters(companyId, filter), after?.at ?? null, after?.id ?? null, limit],
  )

/** Dead letters that died of the same, in the same way. */
export type LetterGroup = {
  reason: string
  kind: LetterKind
  channel: string
  type: string
  count: number
  first_at: string
  last_at: string
}

/** The groups that fit, the largest first, at most `limit`. */
export const groupDeadLetters = (
  db: Queryable,
  companyId: string,
  filter: LetterFilter,
  limit: number,
): Promise<LetterGroup[]> =>
  db.query<LetterGroup>(
    `select dead.reason_group as reason, dead.kind, delivery.channel, event.type, count(*)::integer as count,
       min(dead.at) as first_at, max(dead.at) as last_at
     from ${fitting()} group by 1, 2, 3, 4 order by count(*) desc, 1, 2, 3, 4 limit $8`,
    [...filterParameters(companyId, filter), limit],
  )

/** How many fit, by what sending them again would do: those that expired or were cancelled are not sent. */
export type LetterCount = { count: number; expired: number; cancelled: number }

export async function countDeadLetters(db: Queryable, companyId: string, filter: LetterFilter): Promise<LetterCount> {
  const [counted] = await db.query<LetterCount>(
    `select count(*) filter (where not ${IS_EXPIRED} and not ${IS_CANCELLED})::integer as count,
       count(*) filter (where ${IS_EXPIRED} and not ${IS_CANCELLED})::integer as expired,
       count(*) filter (where ${IS_CANCELLED})::integer as cancelled
     from ${fitting()}`,
    filterParameters(companyId, filter),
  )
  return counted ?? { count: 0, expired: 0, cancelled: 0 }
}

/** One dead letter with everything that went into it. */
export type DeadLetterInputs = DeadLetter & {
  notification_id: string
  event_row_id: string
  event: Event
  event_type_id: string
  event_type_version: number
  /** Null where the event's type is not in use any more. */
  current_event_type_version: number | null
  vars: JsonObject | null
  /** The version that the last rendered attempt used. */
  template_id: string | null
  attempts: { n: number; at: string; verdict: string; message: string }[]
}

/** A dead letter of the company by the row id of its delivery, or null. */
export async function findDeadLetter(db: Queryable, companyId: string, id: string): Promise<DeadLetterInputs | null> {
  const [letter] = await db.query<DeadLetterInputs>(
    `select ${COLUMNS}, delivery.notification_id, event.id as event_row_id, event.payload as event, event.event_type_id,
       event_type.version as event_type_version, delivery.vars, delivery.template_id,
       (select version from event_type current
        where current.company_id in ($1, '') and current.type = event.type and is_current
        order by current.company_id desc limit 1) as current_event_type_version,
       (select coalesce(jsonb_agg(jsonb_build_object('n', n, 'at', at, 'verdict', verdict, 'message', message) order by n), '[]')
        from attempt_log where attempt_log.delivery_id = delivery.id) as attempts
     from ${joined('dead')} join event_type on event_type.id = event.event_type_id
     where dead.delivery_id = $2 and delivery.company_id = $1`,
    [companyId, id],
  )
  return letter ?? null
}
