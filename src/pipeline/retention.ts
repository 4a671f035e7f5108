import type { Ports } from '../ports.ts'
import {
  createPartitions,
  dropPartition,
  hasUnfinished,
  oldPartitions,
  partitionInUse,
  type TimePartition,
} from '../store/partitions.ts'
import {
  deleteOldCancellations,
  deleteOldCollapses,
  deleteOldDedupes,
  deleteOldKeys,
  deleteOldMail,
  deleteOldNotifications,
  deleteOldReplays,
  deleteOldTraces,
  deleteStrayAttempts,
  deleteStrayDeliveries,
  deleteStrayEvents,
  endOldDeadLetters,
  KEY_PARTS,
} from '../store/retention.ts'

/** Days that things are kept; 0: for ever. */
export type RetentionDays = { events: number; notifications: number; idempotencyKeys: number; deadLetters: number }

type RetentionPorts = Pick<Ports, 'db' | 'log' | 'metrics'>

/** Rows in one statement: short enough that nobody waits for it. */
const BATCH = 1000
/** One turn ends after about this long, so that a shutdown need not wait; the rest is for the next. */
const TURN_MS = 10_000
/** 2 MB of keys in one statement. */
const KEY_PAGES = 256
/** A sweep of all keys reads them all, so it is not repeated at every turn. */
const KEYS_EVERY_MS = 6 * 3600_000
const DEDUPE_DAYS = 1

/**
 * Makes partitions ahead of time and removes what is kept long enough, a little at each turn. Any number of processes may
 * do so at once. What is still in use stays, and is said once.
 */
export function retention({ db, log, metrics }: RetentionPorts, days: RetentionDays): { turn: () => Promise<void> } {
  const told = new Map<string, string>()
  const keys = { part: 0, fromPage: 0, sweptAt: -Infinity }
  // A key whose event is gone could only be answered with an error.
  const keyDays = Math.min(...[days.idempotencyKeys, days.events].filter((it) => it > 0))

  async function turn(): Promise<void> {
    const endsAt = performance.now() + TURN_MS
    const missing = await createPartitions(db)
    if (missing > 0) log.warn({ missing }, 'partitions not made: a long transaction is in the way')

    if (days.deadLetters > 0) await deleteAll('dead letters', endOldDeadLetters, days.deadLetters, endsAt)
    if (days.events > 0) await removeEvents(endsAt)
    if (days.notifications > 0) await deleteAll('notifications', deleteOldNotifications, days.notifications, endsAt)
    await sweepKeys(endsAt)
    await deleteAll('dedupe keys', deleteOldDedupes, DEDUPE_DAYS, endsAt)
  }

  async function removeEvents(endsAt: number): Promise<void> {
    let kept = 0
    for (const partition of await oldPartitions(db, days.events)) {
      if (!(await removePartition(partition))) kept += 1
      if (performance.now() > endsAt) return
    }
    metrics.queue.partitionsKept.set(kept)
    await deleteAll('collapse keys', deleteOldCollapses, days.events, endsAt)
    await deleteAll('cancelled keys', deleteOldCancellations, days.events, endsAt)
    await deleteAll('traces', deleteOldTraces, days.events, endsAt)
    await deleteAll('stray deliveries', deleteStrayDeliveries, days.events, endsAt)
    await deleteAll('stray attempts', deleteStrayAttempts, days.events, endsAt)
    await deleteAll('stray events', deleteStrayEvents, days.events, endsAt)
    await deleteAll('kept mail', deleteOldMail, days.events, endsAt)
    await deleteAll('replays', deleteOldReplays, days.events, endsAt)
  }

  async function removePartition(partition: TimePartition): Promise<boolean> {
    const { name } = partition
    const reason = (await reasonToStay(partition)) ?? (await dropPartition(db, name, days.events))
    if (reason === null) {
      told.delete(name)
      if (partition.parent === 'event') keys.sweptAt = -Infinity
      log.info({ partition: name }, 'old partition dropped')
      return true
    }
    if (told.get(name) !== reason) log.warn({ partition: name, reason }, 'old partition kept')
    told.set(name, reason)
    return false
  }

  async function reasonToStay({ name, parent }: TimePartition): Promise<string | null> {
    const reason = await partitionInUse(db, name)
    if (reason !== null || parent !== 'delivery') return reason
    return (await hasUnfinished(db, name)) ? 'deliveries are unfinished, and nothing knows of them' : null
  }

  async function deleteAll(what: string, remove: typeof deleteOldTraces, keepDays: number, endsAt: number) {
    let total = 0
    while (performance.now() < endsAt) {
      const count = await remove(db, keepDays, BATCH)
      total += count
      if (count < BATCH) break
    }
    if (total > 0) log.info({ what, count: total }, 'old rows deleted')
  }

  /** Goes on where the last turn stopped. */
  async function sweepKeys(endsAt: number): Promise<void> {
    if (keyDays === Infinity || performance.now() - keys.sweptAt < KEYS_EVERY_MS) return
    let total = 0
    while (keys.part < KEY_PARTS && performance.now() < endsAt) {
      const deleted = await deleteOldKeys(db, keyDays, { ...keys, pages: KEY_PAGES })
      total += deleted ?? 0
      keys.fromPage = deleted === null ? 0 : keys.fromPage + KEY_PAGES
      if (deleted === null) keys.part += 1
    }
    if (keys.part === KEY_PARTS) Object.assign(keys, { part: 0, fromPage: 0, sweptAt: performance.now() })
    if (total > 0) log.info({ what: 'idempotency keys', count: total }, 'old rows deleted')
  }

  return { turn }
}
