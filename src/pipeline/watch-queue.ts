import { alarmsOf, type QueueHealth } from '../core/queue-health.ts'
import type { Metrics } from '../metrics.ts'
import type { Ports } from '../ports.ts'
import { queueHealth } from '../store/queue-health.ts'

/**
 * Shows the state of queue and database in the metrics, and logs what somebody should look at: when it begins, and when
 * it is over.
 */
export function queueWatch({ db, log, metrics }: Pick<Ports, 'db' | 'log' | 'metrics'>): { turn: () => Promise<void> } {
  let raised = new Set<string>()

  return {
    async turn() {
      const health = await queueHealth(db).catch((error: unknown) => {
        forget(metrics.queue)
        throw error
      })
      show(metrics.queue, health)

      const alarms = alarmsOf(health)
      for (const { name, text } of alarms) {
        if (!raised.has(name)) log.warn({ alarm: name, reason: text }, 'alarm')
      }
      const names = new Set<string>(alarms.map(({ name }) => name))
      for (const name of raised.difference(names)) log.info({ alarm: name }, 'alarm is over')
      raised = names
    },
  }
}

function show(queue: Metrics['queue'], health: QueueHealth): void {
  queue.oldestTransactionSeconds.set(health.oldestTransactionSeconds)
  queue.partitionsMissing.set(health.partitionsMissing)
  queue.strayRows.set(health.strayRows)
  queue.deliveries.set({ state: 'ready' }, health.ready)
  queue.deliveries.set({ state: 'leased' }, health.leased)
  queue.deliveries.set({ state: 'waiting' }, health.waiting)
  for (const { channel, lane, seconds } of health.oldestDue) queue.oldestDueSeconds.set({ channel, lane }, seconds)
  queue.accountStoppedSeconds.reset()
  for (const { account, seconds } of health.stops) queue.accountStoppedSeconds.set({ account }, seconds)
  for (const [kind, count] of Object.entries(health.deadLetters)) queue.deadLetters.set({ kind }, count)
  for (const [table, count] of Object.entries(health.deadTuples)) queue.deadTuples.set({ table }, count)
}

/** Old numbers would look like good ones. */
function forget(queue: Metrics['queue']): void {
  for (const gauge of [queue.oldestTransactionSeconds, queue.partitionsMissing, queue.strayRows]) gauge.set(NaN)
  queue.accountStoppedSeconds.reset()
  for (const gauge of [queue.oldestDueSeconds, queue.deliveries, queue.deadLetters, queue.deadTuples]) gauge.reset()
}
