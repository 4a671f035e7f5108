import type { Queue } from '../queue/queue.ts'
import type { Ports } from '../ports.ts'

type SweepPorts = Pick<Ports, 'channels' | 'log'> & { queue: Pick<Queue, 'recover' | 'check'> }

/** A recovery takes a hundred leases; so that a shutdown need not wait long. */
const MAX_RECOVERIES_PER_TURN = 20

/**
 * Takes over what dead workers held: returns it to the queue, resends or holds what may have been sent, by the policy of
 * its channel. Any number of processes may sweep at once.
 */
export function leaseSweep({ queue, channels, log }: SweepPorts): { turn: () => Promise<void> } {
  let wasAway = false

  return {
    async turn() {
      // While the database was away nobody could prolong a lease: the living get a turn to record what they have sent.
      if (wasAway) {
        await queue.check()
        wasAway = false
        return
      }
      wasAway = true
      for (let done = 0; done < MAX_RECOVERIES_PER_TURN; done++) {
        const recovery = await queue.recover(Object.fromEntries(channels))
        if (recovery.returned + recovery.resent + recovery.held + recovery.failed === 0) break
        log.warn(recovery, 'took over what a dead worker held')
      }
      wasAway = false
    },
  }
}
