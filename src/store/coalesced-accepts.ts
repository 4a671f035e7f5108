import { performance } from 'node:perf_hooks'
import { AppError } from '../core/errors.ts'
import { LANES } from '../core/event.ts'
import type { Event } from '../core/event.ts'
import type { Queryable } from '../db/db.ts'
import type { Claim, ClaimedDelivery, InstantLane, Queue } from '../queue/queue.ts'
import { acceptEvents, isKeyKnown, type StoredEvents } from './accept-events.ts'
import type { EventRows, Instant } from './event-rows.ts'

/** Stores single events; those that come at the same time share a statement and a commit. */
export type Accepts = {
  /** True once the event is stored; false, and nothing is stored, when one of its keys is known. */
  store(rows: EventRows): Promise<boolean>
}

type Waiting = {
  rows: EventRows
  collapseKeys: string[]
  resolve: (isStored: boolean) => void
  reject: (error: unknown) => void
}

const MAX_EVENTS = 500
const MAX_DELIVERIES = 2000
/** While the database stores one group, this process reads the answers of the other and prepares it anew. */
const MAX_IN_FLIGHT = 2
/** Fewer are not worth a second statement. */
const MIN_EVENTS = 16
/** For so long after a key came again, statements are made that bear it: producers repeat many at once. */
const REPEATING_MS = 1000
/** A person's own event is sent at once by the process that took it; a list of people goes through the queue. */
const MAX_INSTANT_DELIVERIES = 100

/** Whether it is over already is for the database's clock to say, at the claim. */
const EXPIRES_SOON_MS = 10_000

/**
 * Gathers what arrives in one turn of the event loop, and what arrives while statements are running. Each caller is
 * answered after the commit of his own event; one whose event cannot be stored fails alone.
 */
export function coalescedAccepts(db: Queryable, queue: Pick<Queue, 'wake'>, instant: InstantLane): Accepts {
  let waiting: Waiting[] = []
  let inFlight = 0
  /** Of the statements that are running: two connections would not keep the order of what came. */
  const collapsing = new Set<string>()
  let isPlanned = false
  let repeatedAt = -Infinity

  function plan(): void {
    if (isPlanned || inFlight >= MAX_IN_FLIGHT || waiting.length === 0) return
    isPlanned = true
    setImmediate(() => {
      isPlanned = false
      const group = takeGroup()
      // Nothing but what waits for a running statement, whose end plans anew.
      if (group.length === 0) return
      void flush(group)
      plan()
    })
  }

  /** Events that would touch the same inbox row go one after another, in the order in which they came. */
  function takeGroup(): Waiting[] {
    const group: Waiting[] = []
    const left: Waiting[] = []
    const passed = new Set<string>()
    const maxEvents = Math.min(MAX_EVENTS, Math.max(MIN_EVENTS, Math.ceil(waiting.length / (MAX_IN_FLIGHT - inFlight))))
    let deliveries = 0
    for (const one of waiting) {
      const hasRoom = group.length < maxEvents && (group.length === 0 || deliveries < MAX_DELIVERIES)
      const mustWait = one.collapseKeys.some((key) => collapsing.has(key) || passed.has(key))
      for (const key of one.collapseKeys) passed.add(key)
      if (!hasRoom || mustWait) {
        left.push(one)
        continue
      }
      deliveries += one.rows.deliveries.length
      group.push(one)
    }
    waiting = left
    for (const { collapseKeys } of group) for (const key of collapseKeys) collapsing.add(key)
    return group
  }

  async function flush(group: Waiting[]): Promise<void> {
    inFlight += 1
    const [inbox, others] = [instant.newLease(), instant.newLease()]
    const leases = new Map<string, string>()
    let reserved = 0
    for (const { rows } of group) {
      if (!isInstant(rows)) continue
      const slow = rows.deliveries.filter(({ is_inbox }) => !is_inbox)
      if (instant.canShow()) for (const { id, is_inbox } of rows.deliveries) if (is_inbox) leases.set(id, inbox.leaseId)
      if (slow.length === 0 || !instant.reserve(slow.length)) continue
      reserved += slow.length
      for (const { id } of slow) leases.set(id, others.leaseId)
    }
    try {
      const deliveries = [...leases].map(([id, leaseId]) => ({ id, leaseId }))
      const stored = await store(group, { ...inbox, deliveries })
      for (const { rows, resolve } of group) resolve(stored.ids.has(rows.id))
      const mine = group.filter(({ rows }) => stored.ids.has(rows.id))
      const claimOf = (leaseId: string): Claim => ({
        leaseId,
        lane: 'p2p',
        deliveries: mine.flatMap(({ rows }) => claimedOf(rows, stored)).filter(({ id }) => leases.get(id) === leaseId),
      })
      const [shown, sent] = [claimOf(inbox.leaseId), claimOf(others.leaseId)]
      instant.release(reserved - sent.deliveries.length)
      if (shown.deliveries.length > 0) instant.show(shown)
      if (sent.deliveries.length > 0) instant.run(sent)
      if (countOf(mine) > shown.deliveries.length + sent.deliveries.length) queue.wake()
    } catch (error) {
      instant.release(reserved)
      await eachAlone(group, error)
    } finally {
      inFlight -= 1
      for (const { collapseKeys } of group) for (const key of collapseKeys) collapsing.delete(key)
      plan()
    }
  }

  /** Nearly always all keys are new: the short statement is tried first. */
  async function store(group: readonly Waiting[], instant: Instant): Promise<StoredEvents> {
    const events = group.map(({ rows }) => rows)
    // Of an event with two keys, the statement that bears known ones could keep one.
    const mayRepeat = performance.now() - repeatedAt < REPEATING_MS && events.every(({ keys }) => keys.length < 2)
    try {
      return await acceptEvents(db, events, { instant, mayRepeat })
    } catch (error) {
      if (!isKeyKnown(error)) throw error
      repeatedAt = performance.now()
      if (group.length === 1) return { ids: new Set(), placeOf: () => undefined }
      if (events.some(({ keys }) => keys.length > 1)) throw error
      return await acceptEvents(db, events, { instant, mayRepeat: true })
    }
  }

  /** One bad row fails the statement of all; the others must not suffer for it. */
  async function eachAlone(group: readonly Waiting[], error: unknown): Promise<void> {
    const isAway = error instanceof AppError && error.code === 'unavailable'
    for (const { rows, resolve, reject } of group) {
      if (isAway || group.length === 1) reject(error)
      else await storeAlone(db, rows).then(resolve, reject)
    }
    if (!isAway && group.length > 1) queue.wake()
  }

  return {
    store: (rows) =>
      new Promise((resolve, reject) => {
        waiting.push({ rows, collapseKeys: collapseKeysOf(rows), resolve, reject })
        plan()
      }),
  }
}

async function storeAlone(db: Queryable, rows: EventRows): Promise<boolean> {
  try {
    await acceptEvents(db, [rows], { mayRepeat: false })
    return true
  } catch (error) {
    if (isKeyKnown(error)) return false
    throw error
  }
}

/** What one event must not share a statement with: the inbox rows that it may replace. */
export const collapseKeysOf = ({ company_id, notifications }: EventRows): string[] =>
  notifications
    .filter(({ collapse_key }) => collapse_key !== null)
    .map(({ user_id, collapse_key }) => JSON.stringify([company_id, user_id, collapse_key]))

const countOf = (group: readonly Waiting[]): number => group.reduce((sum, { rows }) => sum + rows.deliveries.length, 0)

function isInstant({ lane, deliveries }: EventRows): boolean {
  if (lane !== LANES.p2p || deliveries.length === 0 || deliveries.length > MAX_INSTANT_DELIVERIES) return false
  const soon = Date.now() + EXPIRES_SOON_MS
  return deliveries.every(
    ({ send_after, expires_at, time_to_live_seconds }) =>
      send_after === null &&
      (expires_at === null || Date.parse(expires_at) > soon) &&
      (time_to_live_seconds === null || time_to_live_seconds * 1000 > EXPIRES_SOON_MS),
  )
}

/** The deliveries as a claim would have read them. */
function claimedOf(rows: EventRows, stored: StoredEvents): ClaimedDelivery[] {
  return rows.deliveries.map(({ id, notification_id, user_id, channel }) => {
    const place = stored.placeOf(rows.id, user_id)
    return {
      id,
      company_id: rows.company_id,
      user_id,
      channel,
      notification_id: place?.id ?? notification_id,
      attempt: 0,
      crashes: 0,
      is_expired: false,
      is_cancelled: false,
      vars: null,
      pinned_template_id: null,
      event: rows.payload as unknown as Event,
      event_row_id: rows.id,
      event_type_id: rows.event_type_id,
      ...(place && { place }),
    }
  })
}
