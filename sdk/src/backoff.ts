const FIRST_MS = 500
const MAX_MS = 30_000

/** After so many failures in a row the client tries on, but rarely. */
export const QUICK_ATTEMPTS = 10
const RARE_MS = 60_000

/**
 * How long to wait before the next attempt after `failures` in a row. Anywhere between nothing and a bound that doubles
 * ("full jitter"): a thousand clients that lost their server at one moment come back spread over time.
 */
export function pauseMs(failures: number, random: () => number): number {
  if (failures >= QUICK_ATTEMPTS) return RARE_MS * (0.9 + 0.2 * random())
  return random() * Math.min(MAX_MS, FIRST_MS * 2 ** failures)
}
