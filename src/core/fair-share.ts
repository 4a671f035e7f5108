/** Shares out what there is too little of, so that nobody who asks again and again keeps it from the others. */
export type FairShare<Who> = {
  /** How many of `available` he may have. None: it is another's turn, or there are none; he asks again a little later. */
  share: (who: Who, available: number, now: number) => number
  /** He has no use for any now. */
  leave: (who: Who) => void
}

/** Whoever does not come for so long when it is his turn misses it. */
const YIELD_MS = 15

/** Takes turns among those who came in vain. `now` in milliseconds. */
export function fairShare<Who>(): FairShare<Who> {
  const waiting = new Set<Who>()
  let lastServed: Who | undefined
  let yieldingSince: number | null = null

  return {
    share(who, available, now) {
      waiting.delete(who)
      if (yieldingSince !== null && now - yieldingSince >= YIELD_MS) waiting.clear()
      const parts = waiting.size + 1
      // What cannot be divided goes to him whose turn it is.
      const share = who === lastServed ? Math.floor(available / parts) : Math.ceil(available / parts)
      if (share === 0) {
        waiting.add(who)
        if (available > 0) yieldingSince ??= now
        return 0
      }
      yieldingSince = null
      lastServed = who
      return share
    },
    leave: (who) => void waiting.delete(who),
  }
}
