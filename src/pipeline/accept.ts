import { hash } from 'node:crypto'
import { AppError, inOneLine, invalidField, invalidFields } from '../core/errors.ts'
import type { Event } from '../core/event.ts'
import type { EventType } from '../core/event-type.ts'
import { uuidOf } from '../core/id.ts'
import type { Json } from '../core/json.ts'
import { canonicalJson } from '../core/json.ts'
import { payloadFaults } from '../core/payload-schema.ts'
import { notificationFor, plan, unknownType } from '../core/plan.ts'
import type { Queryable } from '../db/db.ts'
import type { Ports } from '../ports.ts'
import { inProgress, itemError, replay, replayBatch, storeBatch } from '../store/accept-batch.ts'
import type { Accepts } from '../store/coalesced-accepts.ts'
import { findDuplicate, replayOf, storeDeduped } from '../store/dedupe.ts'
import { placesOf, type Accepted, type EventRows } from '../store/event-rows.ts'
import { findKeys, idempotencyKey } from '../store/idempotency.ts'

/** An event as it came in: its normal form, and the body it was read from, for the fingerprint. */
export type Incoming = {
  event: Event
  body: Json
  /** What the form calls `type` and `data`, for messages about them. */
  names: { type: string; data: string }
}

export type AcceptPorts = Pick<Ports, 'db' | 'queue' | 'eventTypes' | 'channels' | 'nextId' | 'metrics'> & {
  accepts: Accepts
}

/**
 * Stores one event with everything planned for it, or gives the first answer again when `requestKey` or the event's own
 * id came before with the same body. Resolves after the commit.
 *
 * Errors: `invalid` (unknown type, payload, channel, recipient), `mismatch` (key or id known with another body),
 * `conflict` (the same key is being accepted by this process right now), `unavailable`.
 */
export async function accept(
  ports: AcceptPorts,
  companyId: string,
  incoming: Incoming,
  requestKey?: string,
): Promise<Accepted> {
  const { type } = incoming.event
  const known = ports.eventTypes.known(companyId, type) ?? (await ports.eventTypes.find(companyId, type))
  const keys = keysOf(companyId, incoming, requestKey)
  let rows: EventRows
  try {
    rows = rowsOf(ports, companyId, incoming, known, keys)
  } catch (refusal) {
    return firstAnswer(ports.db, incoming, keys, refusal)
  }

  takeKeys(keys)
  try {
    const accepted = await store(ports, rows)
    if (!accepted) return replay(rows, await findKeys(ports.db, keys))

    countAccepted(ports, [accepted])
    return accepted
  } finally {
    freeKeys(keys)
  }
}

/**
 * Stores a list of events as a whole or not at all, each replayed if its own id came before. A `requestKey` covers the
 * list: its first answer is given again. Faults name the item, e.g. `events[3].title`.
 */
export async function acceptBatch(
  ports: AcceptPorts,
  companyId: string,
  items: readonly Incoming[],
  requestKey?: string,
): Promise<{ events: Accepted[]; isReplay: boolean }> {
  const batch =
    requestKey === undefined
      ? null
      : { key: idempotencyKey('batch', companyId, requestKey), bodyHash: fingerprint(items.map((item) => item.body)) }
  const types = new Map<string, EventType | null>()
  for (const { event } of items) {
    if (types.has(event.type)) continue
    types.set(
      event.type,
      ports.eventTypes.known(companyId, event.type) ?? (await ports.eventTypes.find(companyId, event.type)),
    )
  }
  const rows: EventRows[] = []
  function* planned(): Iterable<EventRows> {
    const ids = new Set<string>()
    for (const [index, item] of items.entries()) {
      const row = inItem(index, () =>
        rowsOf(ports, companyId, item, types.get(item.event.type) ?? null, keysOf(companyId, item)),
      )
      if (ids.has(row.event_id))
        throw invalidField(`events[${index}]`, `the id "${row.event_id}" is twice in this batch`)
      ids.add(row.event_id)
      takeKeys(row.keys)
      rows.push(row)
      yield row
    }
  }

  if (batch) takeKeys([batch.key])
  try {
    const result = await storeBatch(ports.db, { count: items.length, planned: planned(), rows }, batch)
    if (result.isReplay) return result

    countAccepted(ports, result.events)
    if (result.events.some(isStored)) ports.queue.wake(placesOf(rows))
    return result
  } catch (refusal) {
    // What was accepted once is answered as it was then, also when a type would refuse it today.
    const first = isRefusal(refusal) && batch ? (await findKeys(ports.db, [batch.key]))[0] : undefined
    if (first && batch) return replayBatch(first, batch.bodyHash)
    throw refusal
  } finally {
    freeKeys([...(batch ? [batch.key] : []), ...rows.flatMap((row) => row.keys)])
  }
}

/** Null when one of its keys is known. */
async function store(ports: AcceptPorts, rows: EventRows): Promise<Accepted | null> {
  if (!rows.dedupe || rows.keys.length === 0) {
    if (await ports.accepts.store(rows))
      return { event_id: rows.event_id, jobs_count: rows.jobs_count, isReplay: false }
    if (!rows.dedupe) return null
    const first = await findDuplicate(ports.db, rows)
    if (first) return first
  }
  // With keys of both kinds it stands or falls as a whole; or its dedupe key was taken, and is free by now.
  const accepted = await storeDeduped(ports.db, rows)
  if (accepted && !accepted.deduplicated) ports.queue.wake(placesOf([rows]))
  return accepted
}

const isStored = ({ isReplay, deduplicated }: Accepted): boolean => !isReplay && !deduplicated

function countAccepted({ metrics }: AcceptPorts, events: readonly Accepted[]): void {
  metrics.accepted.inc(events.filter(isStored).length)
  metrics.deduplicated.inc(events.filter(({ isReplay, deduplicated }) => deduplicated && !isReplay).length)
}

/** What was accepted once is answered as it was then, also when its type would refuse it today; else `refusal` is thrown. */
async function firstAnswer(
  db: Queryable,
  { body }: Incoming,
  keys: readonly string[],
  refusal: unknown,
): Promise<Accepted> {
  const records = isRefusal(refusal) && keys.length > 0 ? await findKeys(db, keys) : []
  const [record] = records
  const bodyHash = fingerprint(body)
  if (!record?.event_id || records.some((other) => other.body_hash !== bodyHash)) throw refusal
  return replayOf(record)
}

function keysOf(companyId: string, { event }: Incoming, requestKey?: string): string[] {
  const keys: string[] = []
  if (event.id !== undefined) keys.push(idempotencyKey('event', companyId, event.id))
  if (requestKey !== undefined) keys.push(idempotencyKey('request', companyId, requestKey))
  return keys
}

const isRefusal = (error: unknown): boolean => error instanceof AppError && error.code === 'invalid'

/** Not async, as is all up to the store: most types are known, and every turn that an event waits costs. */
function rowsOf(
  ports: AcceptPorts,
  companyId: string,
  { event, body, names }: Incoming,
  type: EventType | null,
  keys: string[],
): EventRows {
  if (!type) throw unknownType(names.type, event.type)
  checkPayload(type, event, names.data)

  const planned = inWordsOf(names, () => plan(event, type, ports.channels, new Date()))
  const id = ports.nextId()
  const eventId = event.id ?? uuidOf(id)
  const thread = (userId: string, channel: string): string | null =>
    planned.ordering_key === null
      ? null
      : idempotencyKey('thread', companyId, JSON.stringify([userId, channel, planned.ordering_key]))
  const notifications: EventRows['notifications'] = []
  const deliveries: EventRows['deliveries'] = []
  for (const userId of planned.userIds) {
    const notificationId = ports.nextId()
    if (planned.isShown) {
      const { level, is_read, collapse_key } = notificationFor(userId, event, type)
      notifications.push({ id: notificationId, user_id: userId, level, is_read, collapse_key })
    }
    for (const { name: channel, isInbox } of planned.channels) {
      deliveries.push({
        id: ports.nextId(),
        notification_id: notificationId,
        user_id: userId,
        channel,
        send_after: event.send_after ?? null,
        expires_at: event.expires_at ?? null,
        time_to_live_seconds: type.time_to_live_seconds ?? null,
        is_inbox: isInbox,
        thread: thread(userId, channel),
      })
    }
  }
  return {
    id,
    keys,
    body_hash: keys.length > 0 ? fingerprint(body) : '',
    company_id: companyId,
    event_id: eventId,
    type: event.type,
    event_type_id: type.id,
    payload: { ...event, id: eventId },
    jobs_count: deliveries.length,
    lane: planned.lane,
    priority: planned.priority,
    cancellation_key: event.cancellation_key ?? null,
    collapse_key: planned.collapse_key,
    dedupe: planned.dedupe && {
      key: idempotencyKey('dedupe', companyId, JSON.stringify([event.type, planned.dedupe.key])),
      window_seconds: planned.dedupe.window_seconds,
    },
    notifications,
    deliveries,
    traces: planned.traces,
  }
}

/** Faults name the fields as the caller's form does. */
function inWordsOf<Output>(names: Incoming['names'], work: () => Output): Output {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const fields = error.fields.map(({ field, message }) => ({ field: field.replace(/^data\b/, names.data), message }))
    throw new AppError(error.code, inOneLine(fields), { cause: error.cause, fields })
  }
}

function checkPayload(type: EventType, event: Event, field: string): void {
  if (!type.schema) return
  const faults = payloadFaults(type.schema, event.data, field)
  if (faults.length > 0) throw invalidFields(faults)
}

const fingerprint = (body: Json): string => hash('sha256', canonicalJson(body))

const inFlight = new Set<string>()

/** Throws `conflict` when one of them is being accepted. */
function takeKeys(keys: readonly string[]): void {
  for (const key of keys) if (inFlight.has(key)) throw inProgress()
  for (const key of keys) inFlight.add(key)
}

function freeKeys(keys: readonly string[]): void {
  for (const key of keys) inFlight.delete(key)
}

function inItem<Result>(index: number, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    throw itemError(index, error)
  }
}
