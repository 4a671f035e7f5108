/** The most of these times, in order, that fall into any window so long. */
export function mostWithin(times: readonly number[], length: number): number {
  let first = 0
  let most = 0
  for (const [last, time] of times.entries()) {
    while (time - times[first]! >= length) first += 1
    most = Math.max(most, last - first + 1)
  }
  return most
}
