import { expect } from 'vitest'
import type { Place } from '../../src/queue/queue.ts'
import type { ModelDelivery } from './model.ts'

/** As in src/queue/turns.ts. */
const SLACK_MS = 2000
const FULL_SWEEP_MS = 5000
/** Claims beside the one that looks at everything leave that to it. */
const LOOK_BEHIND_MS = 200

/** What each worker may overlook: only what is older than what it claimed, and only until the next look at everything. */
export type Sight = ReturnType<typeof newSight>

export function newSight(nowMs: () => number) {
  const claimed = new Map<string, number>()

  return {
    missed(worker: number, place: Place, deliveries: readonly ModelDelivery[]): void {
      for (const { priority, runAtMs, sinceMs } of deliveries) {
        expect(runAtMs).toBeLessThan((claimed.get(keyOf(worker, place, priority)) ?? -Infinity) - SLACK_MS)
        expect(nowMs() - Math.max(runAtMs, sinceMs)).toBeLessThan(FULL_SWEEP_MS + LOOK_BEHIND_MS)
      }
    },

    saw(worker: number, place: Place, deliveries: readonly ModelDelivery[]): void {
      for (const { priority, runAtMs } of deliveries) {
        const key = keyOf(worker, place, priority)
        claimed.set(key, Math.max(runAtMs, claimed.get(key) ?? -Infinity))
      }
    },
  }
}

const keyOf = (worker: number, { channel, lane }: Place, priority: number): string =>
  `${worker} ${channel} ${lane} ${priority}`
