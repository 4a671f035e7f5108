import type { Sizes } from '../sizes.ts'
import type { Contestant, Measure } from '../systems/all.ts'

/** What a child process is asked to do. */
export type Task = {
  measure: Measure | 'prepare' | 'enqueue-for-wake-up'
  contestant: Contestant
  url: string
  sizes: Sizes
}

/** Named numbers; the unit is part of the name. */
export type Numbers = Record<string, number>
