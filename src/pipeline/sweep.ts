import type { Queue } from '../queue/queue.ts'
import type { Ports } from '../ports.ts'

type SweepPorts = Pick<Ports, 'channels' | 'log'> & { queue: Pick<Queue, 'recover' | 'check'> }

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
      const recovery = await queue.recover(Object.fromEntries(channels))
      wasAway = false
      if (recovery.returned + recovery.resent + recovery.held + recovery.failed === 0) return
      log.warn(recovery, 'took over what a dead worker held')
    },
  }
}
