import { setTimeout as sleep } from 'node:timers/promises'
import { coalesced } from '../core/coalesce.ts'
import type { Claim, Queue, Result } from './queue.ts'

/** Writes down what happens to the deliveries of one claim, several of them in one statement where they coincide. */
export type Recorder = {
  /** Before the first byte goes out. False: it may not be sent, as its event was cancelled or superseded, or the lease is over. */
  start(id: string): Promise<boolean>
  /** False: the result was refused, as the lease was taken over. */
  finish(result: Result): Promise<boolean>
  /** Ends the lease; what was not finished goes back, or is recovered as uncertain if it was started. */
  end(): Promise<void>
}

/** A database that is away for a moment must not make a known outcome unknown. */
const RECORD_AGAIN_MS = 500

/** Statements retry for as long as the lease lasts without being renewed: `leaseSeconds`. */
export function recorder(queue: Queue, { leaseId, deliveries }: Claim, leaseSeconds: number): Recorder {
  const limits = { maxInputs: deliveries.length, maxRunning: 1 }
  let finished = 0

  const start = coalesced(async (ids: string[]) => {
    const allowed = new Set(await queue.start(leaseId, ids))
    return ids.map((id) => allowed.has(id))
  }, limits)

  const finish = coalesced(async (results: Result[]) => {
    const recorded = new Set(await persistently(() => queue.finish(leaseId, results)))
    // Only what is written down: what could not be is given back, or recovered, by the end of the lease.
    finished += results.length
    return results.map(({ id }) => recorded.has(id))
  }, limits)

  async function persistently<Output>(write: () => Promise<Output>): Promise<Output> {
    const giveUpAt = Date.now() + leaseSeconds * 1000
    for (;;) {
      try {
        return await write()
      } catch (error) {
        if (Date.now() > giveUpAt) throw error
        await sleep(RECORD_AGAIN_MS)
      }
    }
  }

  return {
    start,
    finish,
    async end() {
      if (finished < deliveries.length) await queue.release(leaseId)
    },
  }
}
