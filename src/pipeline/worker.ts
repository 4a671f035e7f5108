import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { LANE_NAMES, type Lane } from '../core/event.ts'
import type { Channel } from '../channels/channel.ts'
import type { Ports } from '../ports.ts'
import { BACKOFF_MS, claimLoop, type ClaimLoop, type Hands, type LoopOptions } from '../queue/claim-loop.ts'
import { nameOf, type Claim, type InstantLane } from '../queue/queue.ts'

/** How often idle places are looked at for work that nobody woke them for (a send_after, a retry). */
const POLL_MS = 500
/** A place that has neither looked for work nor ended any for so long is stuck: longer than any send may take. */
const STUCK_MS = 90_000

export type Worker = {
  /** For what this process accepts and may send at once. */
  instant: Omit<InstantLane, 'newLease'>
  /** Rejects when a place has stopped turning. */
  check(): Promise<void>
  /** Claims nothing more and waits for what is being sent; after `seconds` the rest is given back. */
  stop(seconds: number): Promise<void>
}

/**
 * Runs one claim loop per channel and lane, each with its own slots, so that none waits for another: mails that hang take
 * nothing from the inbox. `handle` gets every claim; it must not throw for the sake of one delivery, and says at the end of
 * each that it is over, so that one that takes long holds one slot and not those of all that were claimed with it.
 */
export function startWorker(
  { queue, log, channels }: Pick<Ports, 'queue' | 'log'> & { channels: ReadonlyMap<string, Safety> },
  { stuckMs = STUCK_MS, ...options }: Omit<LoopOptions, 'asStarted'> & { stuckMs?: number },
  handle: (claim: Claim, signal: AbortSignal, hands: Hands) => Promise<void>,
): Worker {
  const stopping = new AbortController()
  const abandoning = new AbortController()
  const loops = new Map<string, ClaimLoop>()
  for (const [channel, safety] of channels) {
    for (const lane of LANE_NAMES) {
      const settings = { ...options, asStarted: startsWithItsClaim(safety, lane) }
      const loop = claimLoop({ queue, log }, { channel, lane }, settings, stopping.signal, (claim, hands) =>
        handle(claim, abandoning.signal, hands),
      )
      loops.set(nameOf(loop.place), loop)
    }
  }
  let pollNow: (() => void) | undefined
  let isPollWanted = false

  const stopListening = queue.onWake((woken) => {
    for (const place of woken ?? []) loops.get(nameOf(place))?.nudge()
    if (woken) return
    // The poll asks on behalf of those that wait.
    for (const loop of loops.values()) if (!loop.isIdle()) loop.nudge()
    isPollWanted = true
    pollNow?.()
  })

  /** One statement looks on behalf of all that wait. */
  async function poll(): Promise<void> {
    while (!stopping.signal.aborted) {
      isPollWanted = false
      try {
        const idle = [...loops.values()].filter((loop) => loop.isIdle())
        const due = idle.length === 0 ? [] : await queue.due(idle.map(({ place }) => place))
        for (const loop of idle) loop.turn()
        for (const place of due) loops.get(nameOf(place))?.nudge()
        await nap()
      } catch (error) {
        log.error({ err: error }, 'looking for work failed')
        await sleep(BACKOFF_MS, undefined, { signal: stopping.signal }).catch(() => {})
      }
    }
  }

  async function nap(): Promise<void> {
    if (isPollWanted) return
    const timer = new AbortController()
    pollNow = () => timer.abort()
    await sleep(POLL_MS, undefined, { signal: AbortSignal.any([timer.signal, stopping.signal]) }).catch(() => {})
  }

  const polling = poll()
  const allDone = () => Promise.all([...loops.values()].map((loop) => loop.done()))
  const instantLoop = (channel: string): ClaimLoop | undefined => loops.get(nameOf({ channel, lane: 'p2p' }))

  return {
    instant: {
      reserve: (channel, count) => instantLoop(channel)?.reserve(count) ?? false,
      release: (channel, count) => instantLoop(channel)?.release(count),
      run: (claim) => instantLoop(claim.channel)?.take(claim),
      isStarted: (channel) => instantLoop(channel)?.asStarted ?? false,
      canShow: (channel) => !stopping.signal.aborted && instantLoop(channel) !== undefined,
      show: (claim) => instantLoop(claim.channel)?.show(claim),
    },

    async check() {
      const stuck = [...loops.values()].filter((loop) => performance.now() - loop.turnedAt() > stuckMs)
      if (stuck.length > 0) {
        throw new Error(`stopped turning: ${stuck.map(({ place }) => nameOf(place)).join(', ')}`)
      }
    },

    async stop(seconds) {
      stopping.abort()
      stopListening()
      const giveUp = setTimeout(() => abandoning.abort(), seconds * 1000)
      await Promise.all([polling, allDone()])
      // What an accept reserved slots for may have come to a place that was done already.
      await allDone()
      clearTimeout(giveUp)
      // Nobody would wait for what comes even later, and it goes back.
      abandoning.abort()
    },
  }
}

type Safety = Pick<Channel, 'isIdempotent' | 'onUncertain'>

/**
 * What is resent after a crash anyway need not be noted one by one before it is sent: a claim says as much. What is held
 * for a person is noted precisely, as he decides about each; what may be repeated is not noted at all. Second attempts
 * are noted precisely too: among them is what ends workers, and its neighbours must not be counted with it.
 */
const startsWithItsClaim = ({ isIdempotent, onUncertain }: Safety, lane: Lane): boolean =>
  !isIdempotent && onUncertain === 'resend' && lane !== 'retry'
