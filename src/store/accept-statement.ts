import { LANES } from '../core/event.ts'
import { binaryArray } from '../db/binary-array.ts'
import type { Notice } from '../queue/queue.ts'
import {
  DELIVERY,
  DELIVERY_COMMON,
  EVENT,
  EVENT_COLLAPSE,
  EVENT_COMMON,
  KEY,
  LEASED,
  NOTIFICATION,
  TIMES,
  TRACE,
} from './accept-columns.ts'
import {
  AFTER_COLLAPSE,
  COLLAPSE,
  collapseParts,
  collapsesOf,
  DEDUPE,
  dedupedOf,
  dedupeParts,
  HAS_TURN,
  THREAD,
  threadParts,
  type Column,
} from './accept-options.ts'
import type { BatchKey, EventRows, Instant } from './event-rows.ts'
import { REPLACE_NOTIFICATION } from './notification.ts'

export type AcceptInput = {
  events: readonly EventRows[]
  instant?: Instant
  batchKey?: BatchKey
  /** Other processes are told so with the commit. */
  notice?: Notice | null
  /** Some keys may be known. Without it the statement is shorter, and fails altogether when one is. Dedupe keys need it. */
  mayRepeat: boolean
}

/**
 * The one statement that stores events with everything that belongs to them. Parts that have nothing to store are left
 * out: each costs, and there are only a few dozen different texts to prepare.
 *
 * Keys and inboxes are taken in one order everywhere, so that concurrent statements wait for each other instead of
 * deadlocking.
 */
export function acceptStatement({ events, instant, batchKey, notice, mayRepeat }: AcceptInput): {
  sql: string
  params: unknown[]
} {
  const params: unknown[] = []
  const param = (value: unknown): string => `$${params.push(value)}`
  const unnested = <Row>(columns: readonly Column<Row>[], values: readonly Row[]): string => {
    const arrays = columns.map(([, type, of]) => `${param(binaryArray(type, values, of))}::${type}[]`)
    return `unnest(${arrays.join(', ')}) as x(${columns.map(([name]) => name).join(', ')})`
  }
  /** What is alike in all rows, as it is in most groups, is sent and read once. */
  const rows = <Row>(columns: readonly Column<Row>[], values: readonly Row[], common: readonly Column<Row>[] = []) => {
    const [first] = values
    if (!first || !common.every(([, , of]) => values.every((row) => of(row) === of(first)))) {
      return unnested([...columns, ...common], values)
    }
    const constants = common.map(([name, type, of]) => `${param(of(first))}::${type} as ${name}`)
    return `(select ${['x.*', ...constants].join(', ')} from ${unnested(columns, values)}) as x`
  }
  const notifications = childrenOf(events, ({ notifications }) => notifications)
  const deliveries = childrenOf(events, ({ deliveries }) => deliveries)
  const traces = childrenOf(events, ({ traces }) => traces)
  const keys = events.flatMap((event) => event.keys.map((key) => ({ key, event })))
  const collapses = collapsesOf(events)
  const isCollapsing = collapses.length > 0
  const isTimed = deliveries.some(({ child }) => child.send_after ?? child.expires_at ?? child.time_to_live_seconds)
  const fresh = mayRepeat ? 'fresh' : 'input'

  const parts: string[] = []
  const eventColumns = isCollapsing ? [...EVENT, EVENT_COLLAPSE] : EVENT
  const input = rows(eventColumns, events, EVENT_COMMON)
  // What is only stored need not be kept for what follows.
  const isReadAgain = mayRepeat || notifications.length > 0
  if (isReadAgain) parts.push(`input as materialized (select * from ${input})`)
  const deduped = dedupedOf(events)
  const unknown = deduped.length > 0 ? 'unknown' : 'fresh'
  if (keys.length > 0) parts.push(...keyParts(rows(KEY, keys), mayRepeat, unknown))
  else if (mayRepeat) parts.push(`${unknown} as (select * from input)`)
  if (deduped.length > 0) parts.push(...dedupeParts(rows(DEDUPE, deduped)))
  if (batchKey) {
    const { key, rowId, bodyHash, answer } = batchKey
    parts.push(`batch_key as (
      insert into idem (key, event_id, body_hash, answer)
      values (${param(key)}::uuid, ${param(rowId)}::bigint, decode(${param(bodyHash)}, 'hex'),
        ${param(JSON.stringify(answer))}::text::jsonb))`)
  }
  parts.push(storedPart(isReadAgain ? fresh : input, [...eventColumns, ...EVENT_COMMON]))
  const ofFresh = mayRepeat ? 'where event_id in (select id from fresh)' : ''
  if (isCollapsing) parts.push(...collapseParts(rows(COLLAPSE, collapses), ofFresh))
  if (notifications.length > 0) {
    parts.push(...notificationParts(fresh, rows(NOTIFICATION, notifications), isCollapsing ? AFTER_COLLAPSE : ''))
  }
  if (deliveries.length > 0) {
    const isOrdered = deliveries.some(({ child }) => child.thread !== null)
    const columns = [...DELIVERY, ...(isTimed ? TIMES : []), ...(isOrdered ? [THREAD] : [])]
    const source = rows(columns, deliveries, DELIVERY_COMMON)
    const replaces = notifications.some(({ child }) => child.collapse_key !== null)
    parts.push(deliveryPart(source, { mayRepeat, isTimed, replaces, isOrdered }))
    if (isOrdered) parts.push(...threadParts)
    const claimed = instant && instant.deliveries.length > 0 ? instant : null
    if (!claimed) parts.push(queuedPart(isOrdered ? `where ${HAS_TURN}` : ''))
    else {
      const leases = rows(LEASED, claimed.deliveries)
      parts.push(`given_lease as materialized (select * from ${leases})`)
      if (claimed.deliveries.length < deliveries.length) {
        const hasTurn = isOrdered ? `and ${HAS_TURN}` : ''
        parts.push(queuedPart(`where id <> all(array(select id from given_lease)) ${hasTurn}`))
      }
      const ofStored = mayRepeat ? 'where id in (select id from delivered)' : ''
      parts.push(leasedPart(param(claimed.workerId), param(claimed.leaseSeconds), ofStored))
    }
  }
  if (traces.length > 0) parts.push(tracedPart(rows(TRACE, traces), ofFresh))

  const told = notice ? `from pg_notify(${param(notice.channel)}, ${param(notice.payload)}) as told` : null
  const answer = answerOf({ mayRepeat, hasPlaces: notifications.length > 0 })
  // The answer is the whole of it, but for the words that go out with it.
  const last = told === null ? answer : `select answer.* ${told} left join (${answer}) as answer on true`
  return { sql: `with ${parts.join(',\n')}\n${last}`, params }
}

const childrenOf = <Child>(events: readonly EventRows[], of: (event: EventRows) => readonly Child[]) =>
  events.flatMap((event) => of(event).map((child) => ({ event, child })))

/** Of an event with a known key nothing is kept but possibly another of its keys. */
const keyParts = (source: string, mayRepeat: boolean, unknown: string): string[] => {
  if (!mayRepeat) {
    return [
      `keys as (insert into idem (key, event_id, body_hash) select key, event_id, body_hash from ${source} order by key)`,
    ]
  }
  return [
    `given as materialized (select * from ${source})`,
    `kept as (
      insert into idem (key, event_id, body_hash) select key, event_id, body_hash from given order by key
      on conflict do nothing
      returning key)`,
    `repeated as (select event_id from given where key not in (select key from kept))`,
    `${unknown} as materialized (select * from input where id not in (select event_id from repeated))`,
  ]
}

function storedPart(source: string, columns: readonly Column<EventRows>[]): string {
  const names = columns.map(([name]) => name).join(', ')
  return `stored as (insert into event (${names}) select ${names} from ${source})`
}

const notificationParts = (fresh: string, source: string, where: string): string[] => [
  `told as materialized (
    select one.company_id, one.event_id as public_event_id, one.type, one.payload ->> 'title' as title,
      one.payload ->> 'body' as body, (one.payload -> 'cta')::jsonb as cta, (one.payload -> 'data')::jsonb as data, x.*
    from ${source} join ${fresh} as one on one.id = x.event_id ${where})`,
  `heads as (
    insert into inbox (company_id, user_id, head)
    select company_id, user_id, count(*) from told group by 1, 2 order by 1, 2
    on conflict (company_id, user_id) do update set head = inbox.head + excluded.head
    returning company_id, user_id, head)`,
  `numbered as (
    select told.*, heads.head - count(*) over whole + row_number() over (whole order by told.id) as seq
    from told join heads using (company_id, user_id)
    window whole as (partition by told.company_id, told.user_id))`,
  `noted as (
    insert into notification (id, event_id, public_event_id, company_id, user_id, type, level, seq, title, body, cta,
      data, collapse_key, read_at)
    select id, event_id, public_event_id, company_id, user_id, type, level, seq, title, body, cta, data,
      collapse_key, case when is_read then now() end
    from numbered
    order by company_id, user_id, collapse_key
    on conflict (company_id, user_id, collapse_key) where collapse_key is not null and archived_at is null
    do ${REPLACE_NOTIFICATION}
    returning id, event_id, user_id, seq, shown_at)`,
]

/** An event that collapses keeps the notification of the first one. */
function deliveryPart(
  source: string,
  {
    mayRepeat,
    isTimed,
    replaces,
    isOrdered,
  }: { mayRepeat: boolean; isTimed: boolean; replaces: boolean; isOrdered: boolean },
): string {
  const notificationId = replaces ? 'coalesce(noted.id, x.notification_id)' : 'x.notification_id'
  return `delivered as (
    insert into delivery (id, event_id, notification_id, company_id, channel, user_id, lane, priority, run_at,
      expires_at${isOrdered ? ', thread' : ''})
    select x.id, x.event_id, ${notificationId}, x.company_id, x.channel, x.user_id, x.lane, x.priority,
      ${isTimed ? DUE : 'now(), null::timestamptz'}${isOrdered ? ', x.thread' : ''}
    from ${source}
    ${isTimed ? EXPIRY : ''}
    ${replaces ? 'left join noted on noted.event_id = x.event_id and noted.user_id = x.user_id' : ''}
    ${mayRepeat ? 'where x.event_id in (select id from fresh)' : ''}
    returning id, company_id, campaign_id, channel, lane, priority, run_at${isOrdered ? ', thread' : ''})`
}

/**
 * What would expire before it is due is looked at when it expires; never in the past, where it would seem to have waited
 * since then.
 */
const DUE = 'greatest(now(), least(coalesce(x.send_after::timestamptz, now()), expiry.at)), expiry.at'
const EXPIRY = `cross join lateral (
  select least(x.expires_at::timestamptz,
    greatest(now(), x.send_after::timestamptz) + make_interval(secs => x.time_to_live_seconds)) as at
) as expiry`

const queuedPart = (where: string): string => `queued as (
  insert into ready (channel, lane, priority, flow, run_at, id)
  select coalesce(channel.number, channel_number(delivered.channel)), lane, priority,
    case when run_at <= now() then flow_of(company_id, campaign_id) else 0 end, run_at, id
  from delivered left join channel on channel.name = delivered.channel ${where})`

/** Only the lane `p2p` is claimed as it is stored. */
const leasedPart = (worker: string, seconds: string, ofStored: string): string => `leased as (
  insert into lease (id, worker, lane, until, ids, started)
  select lease_id, ${worker}::uuid, ${LANES.p2p}, now() + make_interval(secs => ${seconds}), array_agg(id), started
  from given_lease ${ofStored}
  group by lease_id, started)`

const tracedPart = (source: string, where: string): string => `traced as (
  insert into trace (event_id, user_id, channel, reason)
  select event_id, user_id, channel, reason from ${source} ${where})`

function answerOf({ mayRepeat, hasPlaces }: { mayRepeat: boolean; hasPlaces: boolean }): string {
  const fresh = mayRepeat ? 'fresh' : 'input'
  if (hasPlaces) {
    return `select one.id as event_id, noted.user_id, noted.id, noted.seq, noted.shown_at
      from ${fresh} as one left join noted on noted.event_id = one.id`
  }
  return mayRepeat ? 'select id as event_id from fresh' : 'select null as event_id where false'
}
