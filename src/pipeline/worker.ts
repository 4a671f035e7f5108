import { setTimeout as sleep } from 'node:timers/promises'
import { LANES, type Lane } from '../core/event.ts'
import type { Ports } from '../ports.ts'
import type { Claim } from '../queue/queue.ts'

/** How long an idle lane waits before it looks for work that nobody woke it for (a send_after, a retry). */
const POLL_MS = 500
/** A lane that has not looked for work for so long is stuck, and the process is not ready. */
const STUCK_MS = 30_000
/** After a failed look (database away), so that an outage is not answered with a storm. */
const BACKOFF_MS = 1000

export type Worker = {
  /** Rejects when a lane has stopped turning. */
  check(): Promise<void>
  /** Claims nothing more and waits for what is being sent; after `seconds` the rest is given back. */
  stop(seconds: number): Promise<void>
}

/**
 * Runs one claim loop per lane, each with its own slots, so that no lane waits for another. `handle` gets every claim;
 * it must not throw for the sake of one delivery.
 */
export function startWorker(
  { queue, log }: Pick<Ports, 'queue' | 'log'>,
  { slotsPerLane, batchSize }: { slotsPerLane: number; batchSize: number },
  handle: (claim: Claim, signal: AbortSignal) => Promise<void>,
): Worker {
  const stopping = new AbortController()
  const abandoning = new AbortController()
  const lanes = (Object.keys(LANES) as Lane[]).map((lane) => runLane(lane))
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

    async function run(claim: Claim): Promise<void> {
      busy += claim.deliveries.length
      try {
        await handle(claim, abandoning.signal)
      } catch (error) {
        log.error({ err: error, lane, leaseId: claim.leaseId }, 'batch failed; its lease returns it')
      } finally {
        busy -= claim.deliveries.length
        nudge()
      }
    }

    async function loop(): Promise<void> {
      const running = new Set<Promise<void>>()
      while (!stopping.signal.aborted) {
        isWoken = false
        const free = slotsPerLane - busy
        if (free <= 0) {
          turnedAt = Date.now()
          await idle(POLL_MS)
          continue
        }
        try {
          const claim = await queue.claim(lane, Math.min(free, batchSize))
          turnedAt = Date.now()
          if (!claim) {
            await idle(POLL_MS)
            continue
          }
          const batch = run(claim).finally(() => running.delete(batch))
          running.add(batch)
        } catch (error) {
          log.error({ err: error, lane }, 'looking for work failed')
          await sleep(BACKOFF_MS, undefined, { signal: stopping.signal }).catch(() => {})
        }
      }
      stopListening()
      await Promise.all(running)
    }

    return { lane, done: loop(), turnedAt: () => turnedAt }
  }

  return {
    async check() {
      const stuck = lanes.filter((lane) => Date.now() - lane.turnedAt() > STUCK_MS)
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
