import type { Queue } from '../queue/queue.ts'
import type { Ports } from '../ports.ts'

type SweepPorts = Pick<Ports, 'channels' | 'log'> & { queue: Pick<Queue, 'recover' | 'check'> }

/** A recovery takes a hundred leases. A turn ends after about this long, so that a shutdown need not wait. */
const TURN_MS = 2000

/**
 * Takes over what dead workers held: returns it to the queue, resends or holds what may have been sent, by the policy of
 * its channel. Any number of processes may sweep at once.
 */
export function leaseSweep({ queue, channels, log }: SweepPorts): { turn: () => Promise<void> } {
  // Nobody knows for how long it was, before this process came.
  let wasAway = true

  return {
    async turn() {
      // While the database was away nobody could prolong a lease: the living get a turn to record what they have sent.
      if (wasAway) {
        await queue.check()
        wasAway = false
        return
      }
      wasAway = true
      for (const endsAt = performance.now() + TURN_MS; performance.now() < endsAt;) {
        const recovery = await queue.recover(Object.fromEntries(channels))
        if (recovery.returned + recovery.resent + recovery.held + recovery.failed === 0) break
        log.warn(recovery, 'took over what a dead worker held')
      }
      wasAway = false
    },
  }
}
