import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { GATHER_MS } from '../core/coalesce.ts'
import type { Claim, NextClaim, Place, Queue, Throttle } from './queue.ts'

/** After a failed look (database away), so that an outage is not answered with a storm. */
export const BACKOFF_MS = 1000
/** Where a throttle grants nothing and does not say when to ask again. */
const ASK_AGAIN_MS = 1000

export type LoopOptions = {
  /** Deliveries of this place that are in progress at the same time. */
  slots: number
  /** At most so many in one claim. */
  batchSize: number
  /** Claims are taken as started. */
  asStarted?: boolean
  throttle?: Throttle
}

/** What a claim's handler tells the loop that made the claim. */
export type Hands = {
  /** A delivery is over: its slot is free. */
  onOver: () => void
  /** What to claim along with the results of so many deliveries, which are over then; null: nothing. */
  next: (finishing: number) => ClaimAlong | null
}

export type ClaimAlong = {
  claim: NextClaim
  /** Hands it out. */
  take(claim: Claim | null): void
  /** Nothing was claimed, as far as anybody knows. */
  giveUp(): void
}

/**
 * Slots of results that are being recorded go on to what is claimed along with them, before their deliveries are over: it is
 * one commit, so no more is ever in progress than there are slots.
 */
type Pass = {
  on(count: number): void
  /** It came to nothing. Returns how many of them still have use for one. */
  back(count: number): number
}

/** Gets every claim; must not throw for the sake of one delivery. */
export type Handle = (claim: Claim, hands: Hands) => Promise<void>

/** Claims what is due in one place and hands it out, as far as it has slots. */
export type ClaimLoop = {
  place: Place
  asStarted: boolean
  /** Has slots, and waits to be told of work. */
  isIdle(): boolean
  nudge(): void
  /** Somebody looked on its behalf, and there was nothing. */
  turn(): void
  /** When it last looked for work or ended any, by `performance.now()`. */
  turnedAt(): number
  /** Takes slots for what somebody else claims; `release`, or the end of what `take` gets, gives them back. */
  reserve(count: number): boolean
  release(count: number): void
  take(claim: Claim): void
  /** Work that waits for nobody else needs no slot. */
  show(claim: Claim): void
  /** Resolves when it was stopped and everything that it handed out by then is over. */
  done(): Promise<void>
}

/** Does nothing until it is nudged; ends after `stopping`. */
export function claimLoop(
  { queue, log }: { queue: Pick<Queue, 'claim'>; log: Logger },
  place: Place,
  { slots, batchSize, asStarted = false, throttle }: LoopOptions,
  stopping: AbortSignal,
  handle: Handle,
): ClaimLoop {
  const limits = throttle?.limits(place.channel) ? throttle : undefined
  const running = new Set<Promise<void>>()
  let turnedAt = performance.now()
  let busy = 0
  let stir: (() => void) | undefined
  // A wake that comes while it is looking, or has no slot, must not be lost: it looks once more.
  let isWoken = false
  let hasMore = false

  /** Slots are given back one by one; a claim for each would cost more than what it fetches. */
  const isSmall = (limit: number): boolean => 2 * limit < Math.min(slots, batchSize)

  function nudge(): void {
    isWoken = true
    stir?.()
  }

  /** Until there may be reason to look, or a slot to look for. */
  async function stirred(): Promise<void> {
    await new Promise<void>((resolve) => {
      stir = resolve
    })
    stir = undefined
  }

  function giveBack(count: number): void {
    const wasFull = busy >= slots
    turnedAt = performance.now()
    busy -= count
    if (wasFull && count > 0) stir?.()
  }

  async function run(claim: Claim, held: number): Promise<void> {
    let passedOn = 0
    const onOver = (): void => {
      if (passedOn > 0) passedOn -= 1
      else if (held > 0) {
        held -= 1
        giveBack(1)
      }
    }
    const pass: Pass = {
      on(count) {
        held -= count
        passedOn += count
      },
      back(count) {
        const returned = Math.min(count, passedOn)
        held += returned
        passedOn -= returned
        return returned
      },
    }
    const next = (finishing: number): ClaimAlong | null => claimAlong(Math.min(finishing, held), pass)
    try {
      await handle(claim, { onOver, next })
    } catch (error) {
      log.error({ err: error, ...place, leaseId: claim.leaseId }, 'batch failed; its lease returns it')
    } finally {
      giveBack(held)
    }
  }

  function take(claim: Claim, held = claim.deliveries.length): void {
    const batch = run(claim, held).finally(() => running.delete(batch))
    running.add(batch)
  }

  function claimAlong(finishing: number, pass: Pass): ClaimAlong | null {
    const limit = Math.min(slots - busy + finishing, batchSize)
    // What a throttle grants is asked for first, which takes its own time.
    if (limits || stopping.aborted || !hasMore || limit <= 0 || isSmall(limit)) return null
    const passed = Math.min(limit, finishing)
    pass.on(passed)
    busy += limit - passed
    return {
      claim: { place, limit, options: { asStarted } },
      take(claim) {
        // That there is none was so when it was asked; a look that began later may know better.
        if (claim?.hasMore) hasMore = true
        giveBack(limit - (claim?.deliveries.length ?? 0))
        if (hasMore) stir?.()
        if (claim) take(claim)
      },
      giveUp() {
        giveBack(limit - pass.back(passed))
        nudge()
      },
    }
  }

  /** False when there is nothing more to claim. */
  async function look(wanted: number): Promise<boolean> {
    const grant = await limits?.grant({ ...place, count: wanted })
    const limit = Math.min(wanted, grant?.count ?? wanted)
    if (limit <= 0) {
      turnedAt = performance.now()
      await pause(grant?.retryAfterMs ?? ASK_AGAIN_MS)
      return true
    }
    let claimed = 0
    try {
      const claim = await queue.claim(place, limit, { asStarted })
      turnedAt = performance.now()
      if (!claim) return false
      claimed = claim.deliveries.length
      busy += claimed
      hasMore = claim.hasMore
      take(claim)
      return hasMore
    } finally {
      if (claimed < limit) limits?.giveBack({ ...place, count: limit - claimed })
    }
  }

  async function loop(): Promise<void> {
    while (!stopping.aborted) {
      if (busy >= slots || !(isWoken || hasMore)) {
        await stirred()
        continue
      }
      if (isSmall(slots - busy)) await pause(GATHER_MS)
      if (busy >= slots || stopping.aborted) continue
      isWoken = false
      try {
        hasMore = await look(Math.min(slots - busy, batchSize))
      } catch (error) {
        log.error({ err: error, ...place }, 'looking for work failed')
        await pause(BACKOFF_MS)
        hasMore = true
      }
    }
  }

  async function done(): Promise<void> {
    await looping
    while (running.size > 0) await Promise.all(running)
  }

  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: stopping }).catch(() => {})

  stopping.addEventListener('abort', nudge, { once: true })
  const looping = loop()
  return {
    place,
    asStarted,
    isIdle: () => stir !== undefined && busy < slots,
    nudge,
    turn: () => {
      turnedAt = performance.now()
    },
    turnedAt: () => turnedAt,
    reserve: (count) => {
      if (stopping.aborted || busy + count > slots) return false
      if (limits && !limits.grantNow({ ...place, count })) return false
      busy += count
      return true
    },
    release: (count) => {
      if (count > 0) limits?.giveBack({ ...place, count })
      giveBack(count)
    },
    take: (claim) => take(claim),
    show: (claim) => take(claim, 0),
    done,
  }
}
