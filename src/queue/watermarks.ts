import { performance } from 'node:perf_hooks'
import type { Place } from './queue.ts'

/** A row may become visible this much after a later one: how far behind the last claim the next one looks. */
const WATERMARK_SLACK_MS = 2000
/** How often a claim looks at everything, whatever the watermark. */
const FULL_SWEEP_MS = 5000

/**
 * Where claims start looking in each lane and priority, so that they need not step over rows that are gone but that
 * vacuum has not removed yet: with a long transaction open elsewhere these would be all rows ever claimed. `clockMs` only
 * ever goes on.
 */
export function watermarks(clockMs: () => number = () => performance.now()) {
  const marks = new Map<string, { since: string; sweptAt: number }>()

  return {
    since(place: Place, priority: number): string {
      const mark = marks.get(keyOf(place, priority))
      return mark && clockMs() - mark.sweptAt < FULL_SWEEP_MS ? mark.since : '-infinity'
    },

    note(place: Place, rows: readonly { run_at: string; priority: number }[]): void {
      // In order: the last one of each priority stays.
      for (const { priority, run_at: runAt } of rows) {
        const key = keyOf(place, priority)
        const mark = marks.get(key)
        const isFresh = mark && clockMs() - mark.sweptAt < FULL_SWEEP_MS
        const since = new Date(Date.parse(runAt) - WATERMARK_SLACK_MS).toISOString()
        marks.set(key, { since, sweptAt: isFresh ? mark.sweptAt : clockMs() })
      }
    },

    /** Work came back with its old run_at. */
    forget: (): void => marks.clear(),
  }
}

const keyOf = ({ channel, lane }: Place, priority: number): string => `${channel} ${lane} ${priority}`
