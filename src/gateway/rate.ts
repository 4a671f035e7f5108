/** A bucket of allowances: `burst` at once, refilled by `perSecond`. */
export type Rate = { left: number; at: number }

export const fullRate = (burst: number, nowMs: number): Rate => ({ left: burst, at: nowMs })

/** Takes one allowance; false when none is left. */
export function take(rate: Rate, perSecond: number, burst: number, nowMs: number): boolean {
  rate.left = Math.min(burst, rate.left + ((nowMs - rate.at) / 1000) * perSecond)
  rate.at = nowMs
  if (rate.left < 1) return false
  rate.left -= 1
  return true
}
