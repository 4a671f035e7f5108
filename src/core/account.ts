/** What sends for a channel at its provider, and how much it may be given. */
export type Account = {
  /** Names it in metrics, logs and the database: the channel's name, and a short hash where there may be several. */
  key: string
  /** Messages that all processes together give it in a second; without it there is no limit. */
  perSecond?: number
  /** How many may go at once after a pause. With 1 they go evenly, and no second ever sees more than `perSecond`. */
  burst?: number
}

/** How an account's messages flow: evenly, and beside that a reserve for what is for one person. */
export type Flow = {
  /** Between two messages of the even flow. */
  intervalSeconds: number
  burst: number
  /** How far ahead slots are given out to lists of people; twice as far to one person, who so comes before them. */
  horizonSeconds: number
  /** Parts of the reserve; each may be used again after `cooldownSeconds`. */
  permits: number
  /** Messages that one part is good for. */
  permitSize: number
  cooldownSeconds: number
}

/** Clocks and networks are not exact: with so much less than allowed, a little lateness does not fill a second too full. */
const STEADINESS = 0.985
const HORIZON_SECONDS = 0.25
const MAX_PERMITS = 20

/** The flow of an account of which `reservePercent` are kept for messages to one person. */
export function flowOf({ perSecond, burst = 1 }: { perSecond: number; burst?: number }, reservePercent: number): Flow {
  const reserve = (perSecond * reservePercent) / 100
  const permitSize = Math.max(1, Math.ceil(reserve / MAX_PERMITS))
  const permits = reserve > 0 ? Math.max(1, Math.floor(reserve / permitSize)) : 0
  return {
    intervalSeconds: 1 / ((perSecond - reserve) * STEADINESS),
    burst,
    horizonSeconds: HORIZON_SECONDS,
    permits,
    permitSize,
    // What is less than one in a second comes back later.
    cooldownSeconds: reserve > 0 ? Math.max(1, (permits * permitSize) / reserve) : 1,
  }
}

/** Most slots that are worth taking at a time. */
export const maxSlots = ({ intervalSeconds, horizonSeconds }: Flow): number =>
  Math.max(1, Math.floor(horizonSeconds / intervalSeconds))
