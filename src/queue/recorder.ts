import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { coalesced, GATHER_MS, type CoalesceOptions } from '../core/coalesce.ts'
import { isUnavailable } from '../core/errors.ts'
import type { Hands } from './claim-loop.ts'
import type { Claim, Queue, Result } from './queue.ts'

/** Writes down what happens to the deliveries of one claim, several of them in one statement where they coincide. */
export type Recorder = {
  /** Before the first byte goes out. False: it may not be sent, as its event was cancelled or superseded, or the lease is over. */
  start(id: string): Promise<boolean>
  /** Asks for more time, as it is done again and again until the end. False: the lease is over. */
  renew(): Promise<boolean>
  /** False: the result was refused, as the lease was taken over. */
  finish(result: Result): Promise<boolean>
  /** Ends the lease; what was not finished goes back, or is recovered as uncertain if it was started. */
  end(): Promise<void>
}

/** A database that is away must not make a known outcome unknown. */
const RECORD_AGAIN_MS = 500

/** Sooner than a sweep comes again: after an outage the living are quicker than those who would take over from them. */
const MAX_RENEWAL_MS = 4000

export type RecorderOptions = {
  /** Also how long results are tried to be recorded; while the database is away, as long as it takes. */
  leaseSeconds: number
  /** Hears of a renewal that could not be made; the next one may. */
  onRenewalFailed?: (error: unknown) => void
  /** What is to be claimed along with results. */
  next?: Hands['next']
  /** The time for draining is used up: what cannot be recorded then is not tried again. */
  signal?: AbortSignal
}

/** Keeps the lease until `end`. */
export function recorder(
  queue: Pick<Queue, 'start' | 'finish' | 'finishAndClaim' | 'renew' | 'release'>,
  { leaseId, deliveries, isStarted, askedAtMs }: Claim,
  { leaseSeconds, onRenewalFailed = () => {}, next = () => null, signal }: RecorderOptions,
): Recorder {
  const together = (settled: () => number): CoalesceOptions => ({
    maxInputs: deliveries.length,
    maxRunning: 1,
    gather: { ms: GATHER_MS, enough: () => deliveries.length - settled() },
  })
  const begun = new Set<string>()
  const leaseMs = leaseSeconds * 1000
  let heldUntil = leaseFrom(askedAtMs)
  let noted = 0
  let finished = 0

  /** By both clocks: one may stand still while the machine is suspended, the other may be set back. */
  function leaseFrom(askedMs: number): { ms: number; wallMs: number } {
    const leftMs = askedMs + leaseMs - performance.now()
    return { ms: performance.now() + leftMs, wallMs: Date.now() + leftMs }
  }

  async function renew(): Promise<boolean> {
    const renewedAtMs = performance.now()
    const isHeld = await queue.renew(leaseId)
    if (isHeld) heldUntil = leaseFrom(renewedAtMs)
    return isHeld
  }
  const renewal = setInterval(() => void renew().catch(onRenewalFailed), Math.min(leaseMs / 5, MAX_RENEWAL_MS))

  const note = coalesced(
    async (ids: string[]) => {
      noted += ids.length
      const allowed = new Set(await queue.start(leaseId, ids))
      return ids.map((id) => allowed.has(id))
    },
    together(() => noted),
  )

  async function startNoted(id: string): Promise<boolean> {
    return (await note(id)) && begin(id)
  }

  /** Its claim was the note. But a process that was stopped for long may have lost the lease without knowing. */
  function startClaimed(id: string): Promise<boolean> {
    const isOver = performance.now() >= heldUntil.ms || Date.now() >= heldUntil.wallMs
    if (isOver) return renew().then((isHeld) => isHeld && begin(id))
    return Promise.resolve(begin(id))
  }

  function begin(id: string): true {
    begun.add(id)
    return true
  }

  const finish = coalesced(
    async (results: Result[]) => {
      const recorded = new Set(await persistently(() => write(results)))
      // Only what is written down: what could not be is given back, or recovered, by the end of the lease.
      finished += results.length
      return results.map(({ id }) => recorded.has(id))
    },
    together(() => finished),
  )

  async function write(results: Result[]): Promise<string[]> {
    const options = { isLast: finished + results.length === deliveries.length }
    const along = next(results.length)
    if (!along) return queue.finish(leaseId, results, options)
    try {
      const { recorded, claim } = await queue.finishAndClaim(leaseId, results, along.claim, options)
      along.take(claim)
      return recorded
    } catch (error) {
      along.giveUp()
      throw error
    }
  }

  async function persistently<Output>(write: () => Promise<Output>): Promise<Output> {
    const giveUpAtMs = performance.now() + leaseMs
    for (;;) {
      try {
        return await write()
      } catch (error) {
        // Nobody takes the lease over either while the database is away.
        if (signal?.aborted || (!isUnavailable(error) && performance.now() > giveUpAtMs)) throw error
        await sleep(RECORD_AGAIN_MS)
      }
    }
  }

  return {
    start: isStarted ? startClaimed : startNoted,
    renew,
    finish,
    async end() {
      clearInterval(renewal)
      if (finished === deliveries.length) return
      const notBegun = deliveries.map(({ id }) => id).filter((id) => !begun.has(id))
      await queue.release(leaseId, notBegun)
    },
  }
}
