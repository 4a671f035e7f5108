import type { Numbers } from './measures/measure.ts'
import { median } from './statistics.ts'
import type { Contestant, Measure } from './systems/all.ts'

/** What one system showed in one measure, round by round; null where it failed. */
export type Result = { contestant: Contestant; measure: Measure; rounds: (Numbers | null)[] }

export const find = (results: readonly Result[], measure: Measure, id: string): Result | undefined =>
  results.find((result) => result.measure === measure && result.contestant.id === id)

export const valuesOf = (result: Result | undefined, name: string): number[] =>
  (result?.rounds ?? []).flatMap((numbers) => numbers?.[name] ?? [])

/**
 * How many times more of `name` the first has, as the median of the rounds: the two of one round ran within the same
 * minutes, so what disturbed one disturbed the other. NaN when there is nothing to compare.
 */
export function ratio(ours: Result | undefined, theirs: Result | undefined, name: string): number {
  const pairs = (ours?.rounds ?? []).flatMap((numbers, round) => {
    const [mine, other] = [numbers?.[name], theirs?.rounds[round]?.[name]]
    return mine === undefined || other === undefined ? [] : [mine / other]
  })
  return median(pairs)
}
