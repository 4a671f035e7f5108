/** Retries spread around their base, so that what failed together does not come back together. */
const JITTER = 0.2
/** No provider is believed when it asks to wait longer. */
const MAX_RETRY_AFTER_SECONDS = 6 * 3600

/**
 * Seconds until the next attempt after `attempt` finished ones (1 = the first just failed), or null when the schedule
 * is used up. What the provider asked for (`retryAfterSeconds`) only ever lengthens the wait. `random` is in [0, 1).
 */
export function retryDelay(
  schedule: readonly number[],
  attempt: number,
  retryAfterSeconds: number | undefined,
  random: number,
): number | null {
  const base = schedule[attempt - 1]
  if (base === undefined) return null
  const spread = base * (1 - JITTER + 2 * JITTER * random)
  return Math.max(spread, Math.min(retryAfterSeconds ?? 0, MAX_RETRY_AFTER_SECONDS))
}
