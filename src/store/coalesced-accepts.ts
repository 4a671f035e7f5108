import { performance } from 'node:perf_hooks'
import { isUnavailable } from '../core/errors.ts'
import type { Db } from '../db/db.ts'
import type { InstantLane, Notice, Queue } from '../queue/queue.ts'
import { collapsesOf } from './accept-options.ts'
import { acceptEvents, isKeyKnown, type StoredEvents } from './accept-events.ts'
import { placesOf, waitsForNobody, type EventRows, type Instant } from './event-rows.ts'
import { instantClaims } from './instant-claims.ts'

/** Stores single events; those that come at the same time share a statement and a commit. */
export type Accepts = {
  /**
   * True once the event is stored; false, and nothing is stored, when one of its keys is known, or its dedupe key is taken.
   * Not for events that have both kinds of keys.
   */
  store(rows: EventRows): Promise<boolean>
}

type Waiting = {
  rows: EventRows
  collapseKeys: string[]
  threads: string[]
  resolve: (isStored: boolean) => void
  reject: (error: unknown) => void
}

/** What goes into the statement with the events. */
type Along = { instant?: Instant; notice?: Notice | null }

const MAX_EVENTS = 500
const MAX_DELIVERIES = 2000
/** While the database stores one group, this process reads the answers of the other and prepares it anew. */
const MAX_IN_FLIGHT = 2
/** Fewer are not worth a second statement. */
const MIN_EVENTS = 16
/** For so long after a key came again, statements are made that bear it: producers repeat many at once. */
const REPEATING_MS = 1000

/**
 * Gathers what arrives in one turn of the event loop, and what arrives while statements are running. Each caller is
 * answered after the commit of his own event; one whose event cannot be stored fails alone.
 */
export function coalescedAccepts(
  db: Pick<Db, 'query' | 'stream'>,
  queue: Pick<Queue, 'wake' | 'notice' | 'releaseUnheard'>,
  instant: InstantLane,
): Accepts {
  let waiting: Waiting[] = []
  let inFlight = 0
  /** Of the statements that are running: two connections would not keep the order of what came. */
  const collapsing = new Set<string>()
  const ordering = new Set<string>()
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

  /**
   * Events that would touch the same inbox row go one after another, and those of one thread never in two statements at
   * a time: in the order in which they came.
   */
  function takeGroup(): Waiting[] {
    const group: Waiting[] = []
    const left: Waiting[] = []
    const passed = new Set<string>()
    const overtaken = new Set<string>()
    const maxEvents = Math.min(MAX_EVENTS, Math.max(MIN_EVENTS, Math.ceil(waiting.length / (MAX_IN_FLIGHT - inFlight))))
    let deliveries = 0
    for (const one of waiting) {
      const hasRoom = group.length < maxEvents && (group.length === 0 || deliveries < MAX_DELIVERIES)
      const mustWait =
        one.collapseKeys.some((key) => collapsing.has(key) || passed.has(key)) ||
        one.threads.some((key) => ordering.has(key) || overtaken.has(key))
      for (const key of one.collapseKeys) passed.add(key)
      // Those with dedupe keys need a statement of another kind.
      const isOfKind = !group[0] || (group[0].rows.dedupe === null) === (one.rows.dedupe === null)
      if (!hasRoom || mustWait || !isOfKind) {
        left.push(one)
        for (const key of one.threads) overtaken.add(key)
        continue
      }
      deliveries += one.rows.deliveries.length
      group.push(one)
    }
    waiting = left
    for (const { collapseKeys, threads } of group) {
      for (const key of collapseKeys) collapsing.add(key)
      for (const key of threads) ordering.add(key)
    }
    return group
  }

  async function flush(group: Waiting[]): Promise<void> {
    inFlight += 1
    const events = group.map(({ rows }) => rows)
    const claims = instantClaims(instant, events)
    const notice = noticeOf(group, claims.instant)
    try {
      const stored = await store(events, { instant: claims.instant, notice })
      for (const { rows, resolve } of group) resolve(stored.ids.has(rows.id))
      const mine = events.filter(({ id }) => stored.ids.has(id))
      const waitsIn = claims.hand(mine, stored)
      if (waitsIn.length > 0) queue.wake(waitsIn, notice !== null)
    } catch (error) {
      claims.giveUp()
      // Where only the answer is lost, it was stored as claimed and nobody has begun it: it must not count as begun.
      if (isUnavailable(error)) for (const { leaseId, ids } of claims.leases) queue.releaseUnheard(leaseId, [...ids])
      await eachAlone(group, error)
    } finally {
      inFlight -= 1
      for (const { collapseKeys, threads } of group) {
        for (const key of collapseKeys) collapsing.delete(key)
        for (const key of threads) ordering.delete(key)
      }
      plan()
    }
  }

  /** One event alone, all of which waits for a worker, brings the word of it along. */
  function noticeOf([first, ...others]: readonly Waiting[], { deliveries }: Instant): Notice | null {
    if (!first || others.length > 0 || deliveries.length > 0) return null
    const places = placesOf([first.rows])
    return places.length === 0 ? null : queue.notice(places)
  }

  /** Nearly always all keys are new: the short statement is tried first. */
  async function store(events: readonly EventRows[], along: Along): Promise<StoredEvents> {
    // Of an event with two keys, the statement that bears known ones could keep one.
    const mayRepeat = performance.now() - repeatedAt < REPEATING_MS && events.every(({ keys }) => keys.length < 2)
    // Nobody waits behind what may wait.
    const over = events.every(waitsForNobody) ? db.stream : db
    try {
      return await acceptEvents(over, events, { ...along, mayRepeat })
    } catch (error) {
      if (!isKeyKnown(error)) throw error
      repeatedAt = performance.now()
      if (events.length === 1) return { ids: new Set(), placeOf: () => undefined }
      if (events.some(({ keys }) => keys.length > 1)) throw error
      return await acceptEvents(over, events, { ...along, mayRepeat: true })
    }
  }

  /** One bad row fails the statement of all; the others must not suffer for it. */
  async function eachAlone(group: readonly Waiting[], error: unknown): Promise<void> {
    for (const { rows, resolve, reject } of group) {
      if (isUnavailable(error) || group.length === 1) reject(error)
      else await store([rows], {}).then(({ ids }) => resolve(ids.has(rows.id)), reject)
    }
    if (!isUnavailable(error) && group.length > 1) queue.wake()
  }

  return {
    store: (rows) =>
      new Promise((resolve, reject) => {
        waiting.push({ rows, collapseKeys: collapseKeysOf(rows), threads: threadsOf(rows), resolve, reject })
        plan()
      }),
  }
}

/** In which its deliveries have a place. A statement gives several events of a thread theirs, in their order. */
const threadsOf = ({ deliveries }: EventRows): string[] =>
  deliveries.flatMap(({ thread }) => (thread === null ? [] : [thread]))

/** What one event must not share a statement with: the places that it takes. */
export const collapseKeysOf = (event: EventRows): string[] =>
  collapsesOf([event]).map(({ userId }) => JSON.stringify([event.company_id, userId, event.collapse_key]))
