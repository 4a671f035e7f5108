import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { maxSlots, type Flow } from '../core/account.ts'
import type { Lane } from '../core/event.ts'
import { slotPool } from '../core/slot-pool.ts'
import { fairShare } from '../core/fair-share.ts'
import type { Grant } from '../queue/queue.ts'
import type { TakenSlots } from '../store/account-bucket.ts'

/** Takes slots of the account out of the database. */
export type Take = (wanted: number, isForPerson: boolean) => Promise<TakenSlots>

/** What this process may give one account that has a limit. */
export type AccountTokens = {
  grant(lane: Lane, count: number): Promise<Grant>
  /** All or none, without asking the database. */
  grantNow(lane: Lane, count: number): boolean
  giveBack(lane: Lane, count: number): void
  /** When the next of the messages that were granted may go, in milliseconds of this process's clock. */
  nextMoment(lane: Lane, now: number): number
  /** What is in hand counts no more. */
  drop(): void
  close(): void
}

/** Asking oftener costs more than it brings: with a fast account several slots are used at a time. */
const TICK_MS = 10
/** Until it is the other lane's turn. */
const TURN_MS = 5
const DATABASE_AWAY_MS = 1000
/** How long somebody who asks in vain waits here for what others give back. */
const HOLD_MS = 100
/** Claiming and rendering take now more, now less: each message goes so long after its slot, so that they still go evenly. */
const MAX_BUFFER_MS = 150
/** But with a fast account not so long that many are held for it. */
const BUFFERED_SLOTS = 10
const LOST_MS = 1000

/**
 * Slots come out of the database in chunks, some ahead of their time, and are used at their time. What is for one person
 * does not wait for the database: a few messages are sent on credit, and paid for at once.
 */
export function accountTokens(flow: Flow, take: Take): AccountTokens {
  const closing = new AbortController()
  const reserve = flow.permits * flow.permitSize
  const bulk = hand(flow, maxSlots(flow), (wanted) => take(wanted, false))
  const personal = hand(flow, maxSlots(flow) + reserve, (wanted) => take(wanted, true))
  const credit = reserve > 0 ? Math.max(1, Math.floor(reserve / 4)) : 0
  let owed = 0
  let isPaying = false

  const handOf = (lane: Lane): ReturnType<typeof hand> => (lane === 'p2p' ? personal : bulk)

  async function pay(): Promise<void> {
    if (isPaying) return
    isPaying = true
    while (owed > 0 && !closing.signal.aborted) {
      const paid = await take(owed, true).catch(() => null)
      const now = performance.now()
      if (paid && paid.stoppedSeconds > 0) owed = 0
      const slots = paid ? timesOf(paid, flow, now) : []
      const count = Math.min(slots.length, owed)
      personal.add(slots.slice(count))
      // A slot that is ahead is paid for when its time has come.
      const waitMs = count > 0 ? (slots[count - 1] ?? now) - now : paid ? untilNext(paid, flow) : DATABASE_AWAY_MS
      if (waitMs > 0 && owed > 0) await sleep(waitMs, undefined, { signal: closing.signal, ref: false }).catch(() => {})
      owed = Math.max(0, owed - count)
    }
    isPaying = false
  }

  return {
    grant: (lane, count) => handOf(lane).grant(lane, count),

    grantNow(lane, count) {
      if (lane !== 'p2p') return false
      if (personal.takeAll(count)) return true
      if (owed + count > credit) return false
      owed += count
      void pay()
      return true
    },

    giveBack: (lane, count) => handOf(lane).giveBack(lane, count),

    // What is for one person was paid for as it came, and waits for nothing.
    nextMoment: (lane, now) => (lane === 'p2p' ? now : bulk.nextMoment(now)),

    drop() {
      bulk.drop()
      personal.drop()
    },

    close: () => closing.abort(),
  }
}

/** The slots that this process holds for one kind of messages, and takes anew when there are none. */
function hand(flow: Flow, most: number, take: (wanted: number) => Promise<TakenSlots>) {
  const pool = slotPool()
  const lanes = fairShare<Lane>()
  const bufferMs = Math.min(MAX_BUFFER_MS, BUFFERED_SLOTS * flow.intervalSeconds * 1000)
  const tickMs = flow.intervalSeconds * 1000 < TICK_MS ? TICK_MS : 0
  // Grows while everything is used, as what is taken and not used is lost to the others.
  let appetite = 1
  let askAgainAt = 0
  let asking: Promise<void> | null = null
  let returned = Promise.withResolvers<void>()
  /** When each granted message goes, in order. */
  const moments: number[] = []
  let lastMoment = 0

  async function ask(count: number): Promise<void> {
    const taken = await take(Math.min(appetite, count))
    const now = performance.now()
    const slots = timesOf(taken, flow, now)
    pool.add(slots)
    if (slots.length > 0) appetite = Math.min(most, appetite * 2)
    else askAgainAt = now + untilNext(taken, flow)
  }

  async function grant(lane: Lane, count: number): Promise<Grant & { retryAfterMs: number }> {
    if (pool.nextAt(performance.now()) === null && performance.now() >= askAgainAt) {
      asking ??= ask(count).finally(() => {
        asking = null
      })
      await asking
    }
    const now = performance.now()
    const due = pool.due(now)
    const share = lanes.share(lane, due, now)
    const slots = pool.take(Math.min(count, share), now)
    if (lane !== 'p2p') moments.push(...slots.map((slot) => slot + bufferMs))
    const at = pool.nextAt(now) ?? askAgainAt
    return { count: slots.length, retryAfterMs: due > 0 ? TURN_MS : Math.max(at - now, tickMs, 1) }
  }

  /** What came to nothing, as its recipient has no address, comes back after a moment, and is not to be lost. */
  async function returnedWithin(ms: number): Promise<void> {
    const timer = new AbortController()
    await Promise.race([returned.promise, sleep(ms, undefined, { signal: timer.signal }).catch(() => {})])
    timer.abort()
  }

  return {
    async grant(lane: Lane, count: number): Promise<Grant> {
      const first = await grant(lane, count)
      if (first.count > 0) return { count: first.count }
      await returnedWithin(Math.min(first.retryAfterMs, HOLD_MS))
      const second = await grant(lane, count)
      return second.count > 0 ? { count: second.count } : second
    },

    takeAll(count: number): boolean {
      const now = performance.now()
      return pool.due(now) >= count && pool.take(count, now).length === count
    },

    nextMoment(now: number): number {
      // Of grants that came to nothing without being given back.
      while ((moments[0] ?? now) < now - LOST_MS) moments.shift()
      // Those that are late for one reason do not go all at once either.
      lastMoment = Math.max(moments.shift() ?? now, lastMoment + (flow.intervalSeconds * 1000) / flow.burst)
      return lastMoment
    },

    giveBack(lane: Lane, count: number): void {
      moments.splice(-count)
      pool.giveBack(count, performance.now())
      lanes.leave(lane)
      returned.resolve()
      returned = Promise.withResolvers()
      appetite = Math.max(1, Math.floor(appetite / 2))
    },

    add: (slots: readonly number[]): void => pool.add(slots),

    drop(): void {
      moments.length = 0
      lastMoment = 0
      pool.clear()
      appetite = 1
      askAgainAt = 0
    },
  }
}

/** In milliseconds of this process's clock, `now` being that of the answer: later than the database meant, never sooner. */
function timesOf(
  { evenCount, firstInSeconds, reserveCount }: TakenSlots,
  { intervalSeconds }: Flow,
  now: number,
): number[] {
  const even = Array.from(
    { length: evenCount },
    (_, n) => now + Math.max(0, firstInSeconds + n * intervalSeconds) * 1000,
  )
  return [...Array.from({ length: reserveCount }, () => now), ...even]
}

/** Milliseconds until there are slots again: a few, as several processes that ask for each would ask all the time. */
const untilNext = ({ nextInSeconds, stoppedSeconds }: TakenSlots, { horizonSeconds }: Flow): number =>
  Math.max(TICK_MS, 1000 * Math.max(stoppedSeconds, nextInSeconds - horizonSeconds * 0.75))
