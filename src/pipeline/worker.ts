import { setTimeout as sleep } from 'node:timers/promises'
import { LANES, type Lane } from '../core/event.ts'
import type { Ports } from '../ports.ts'
import type { Claim, InstantLane } from '../queue/queue.ts'

/** How long an idle lane waits before it looks for work that nobody woke it for (a send_after, a retry). */
const POLL_MS = 500
/** A lane that has neither looked for work nor ended any for so long is stuck: longer than any send may take. */
const STUCK_MS = 90_000
/** After a failed look (database away), so that an outage is not answered with a storm. */
const BACKOFF_MS = 1000

export type Worker = {
  /** For what this process accepts and may send at once. */
  instant: Omit<InstantLane, 'newLease'>
  /** Rejects when a lane has stopped turning. */
  check(): Promise<void>
  /** Claims nothing more and waits for what is being sent; after `seconds` the rest is given back. */
  stop(seconds: number): Promise<void>
}

/**
 * Runs one claim loop per lane, each with its own slots, so that no lane waits for another. `handle` gets every claim;
 * it must not throw for the sake of one delivery, and calls `onOver` at the end of each, so that one that takes long
 * holds one slot and not those of all that were claimed with it.
 */
export function startWorker(
  { queue, log }: Pick<Ports, 'queue' | 'log'>,
  { slotsPerLane, batchSize, stuckMs = STUCK_MS }: { slotsPerLane: number; batchSize: number; stuckMs?: number },
  handle: (claim: Claim, signal: AbortSignal, onOver: () => void) => Promise<void>,
): Worker {
  const stopping = new AbortController()
  const abandoning = new AbortController()
  const p2p = runLane('p2p')
  const lanes = [p2p, ...(Object.keys(LANES) as Lane[]).filter((lane) => lane !== 'p2p').map((lane) => runLane(lane))]
  const loops = Promise.all(lanes.map((lane) => lane.done))

  function runLane(lane: Lane) {
    let turnedAt = Date.now()
    let busy = 0
    let wake: (() => void) | undefined
    // A wake that comes while the lane is looking must not be lost: it looks once more.
    let isWoken = false
    const nudge = (): void => {
      isWoken = true
      wake?.()
    }
    const stopListening = queue.onWake(nudge)
    stopping.signal.addEventListener('abort', nudge, { once: true })

    async function idle(ms: number): Promise<void> {
      if (isWoken || stopping.signal.aborted) return
      const timer = new AbortController()
      await Promise.race([
        sleep(ms, undefined, { signal: timer.signal }).catch(() => {}),
        new Promise<void>((resolve) => {
          wake = resolve
        }),
      ])
      timer.abort()
    }

    function giveBack(count: number): void {
      const wasFull = busy >= slotsPerLane
      turnedAt = Date.now()
      busy -= count
      if (wasFull && count > 0) nudge()
    }

    async function run(claim: Claim, slots: number): Promise<void> {
      let held = slots
      const onOver = (): void => {
        if (held === 0) return
        held -= 1
        giveBack(1)
      }
      try {
        await handle(claim, abandoning.signal, onOver)
      } catch (error) {
        log.error({ err: error, lane, leaseId: claim.leaseId }, 'batch failed; its lease returns it')
      } finally {
        giveBack(held)
      }
    }

    const running = new Set<Promise<void>>()
    const take = (claim: Claim, slots = claim.deliveries.length): void => {
      const batch = run(claim, slots).finally(() => running.delete(batch))
      running.add(batch)
    }

    async function loop(): Promise<void> {
      while (!stopping.signal.aborted) {
        isWoken = false
        const free = slotsPerLane - busy
        if (free <= 0) {
          await idle(POLL_MS)
          continue
        }
        try {
          const limit = Math.min(free, batchSize)
          const claim = await queue.claim(lane, limit)
          turnedAt = Date.now()
          if (claim) {
            busy += claim.deliveries.length
            take(claim)
          }
          // A claim that is not full has emptied the lane.
          if ((claim?.deliveries.length ?? 0) < limit) await idle(POLL_MS)
        } catch (error) {
          log.error({ err: error, lane }, 'looking for work failed')
          await sleep(BACKOFF_MS, undefined, { signal: stopping.signal }).catch(() => {})
        }
      }
      stopListening()
      while (running.size > 0) await Promise.all(running)
    }

    return {
      lane,
      done: loop(),
      turnedAt: () => turnedAt,
      reserve: (count: number): boolean => {
        if (stopping.signal.aborted || busy + count > slotsPerLane) return false
        busy += count
        return true
      },
      release: giveBack,
      take,
      /** Work that waits for nobody else needs no slot. */
      show: (claim: Claim): void => take(claim, 0),
    }
  }

  return {
    instant: {
      reserve: p2p.reserve,
      release: p2p.release,
      run: (claim) => p2p.take(claim),
      canShow: () => !stopping.signal.aborted,
      show: p2p.show,
    },

    async check() {
      const stuck = lanes.filter((lane) => Date.now() - lane.turnedAt() > stuckMs)
      if (stuck.length > 0) throw new Error(`lanes that stopped turning: ${stuck.map(({ lane }) => lane).join(', ')}`)
    },

    async stop(seconds) {
      stopping.abort()
      const giveUp = setTimeout(() => abandoning.abort(), seconds * 1000)
      await loops
      clearTimeout(giveUp)
    },
  }
}
