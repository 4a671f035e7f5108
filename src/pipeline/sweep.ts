import type { Ports } from '../ports.ts'

/**
 * Takes over what dead workers held: returns it to the queue, resends or holds what may have been sent, by the policy of
 * its channel. Any number of processes may sweep at once.
 */
export async function sweepLeases({ queue, channels, log }: Pick<Ports, 'queue' | 'channels' | 'log'>): Promise<void> {
  const recovery = await queue.recover(Object.fromEntries(channels))
  if (recovery.returned + recovery.resent + recovery.held + recovery.failed === 0) return
  log.warn(recovery, 'took over what a dead worker held')
}
