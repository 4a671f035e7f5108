import { AppError } from '../core/errors.ts'
import { LANES } from '../core/event.ts'
import type { Event } from '../core/event.ts'
import type { Queryable } from '../db/db.ts'
import type { Claim, ClaimedDelivery, InstantLane, Queue } from '../queue/queue.ts'
import { acceptEvents, type EventRows, type StoredEvents } from './accept-events.ts'

/** Stores single events; those that come at the same time share a statement and a commit. */
export type Accepts = {
  /** True once the event is stored; false when its key exists already. Events with several keys must not come here. */
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
/** One statement runs while the next is gathered; more would only make each of them smaller. */
const MAX_IN_FLIGHT = 2
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
    let deliveries = 0
    for (const one of waiting) {
      const hasRoom = group.length < MAX_EVENTS && (group.length === 0 || deliveries < MAX_DELIVERIES)
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
      const slow = rows.deliveries.filter(({ is_inbox: isInbox }) => !isInbox)
      if (instant.canShow()) for (const { id, is_inbox } of rows.deliveries) if (is_inbox) leases.set(id, inbox.leaseId)
      if (slow.length === 0 || !instant.reserve(slow.length)) continue
      reserved += slow.length
      for (const { id } of slow) leases.set(id, others.leaseId)
    }
    try {
      const deliveries = [...leases].map(([id, leaseId]) => ({ id, leaseId }))
      const stored = await acceptEvents(
        db,
        group.map(({ rows }) => rows),
        { ...inbox, deliveries },
      )
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

  /** One bad row fails the statement of all; the others must not suffer for it. */
  async function eachAlone(group: readonly Waiting[], error: unknown): Promise<void> {
    const isAway = error instanceof AppError && error.code === 'unavailable'
    for (const { rows, resolve, reject } of group) {
      if (isAway || group.length === 1) reject(error)
      else await acceptEvents(db, [rows]).then(({ ids }) => resolve(ids.has(rows.id)), reject)
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
