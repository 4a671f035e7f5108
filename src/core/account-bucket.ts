import type { Flow } from './account.ts'

/**
 * The arithmetic of what an account may be given; `store/account-bucket.ts` does the same in one statement, and both pass
 * the same test. Times are seconds.
 */
export type Bucket = {
  /** When the next message of the even flow may go. */
  nextAt: number
  /** When each part of the reserve was last used. */
  reserveUsed: readonly number[]
}

export type Taken = {
  bucket: Bucket
  /** When each message may go, earliest first. Some are ahead by `horizonSeconds`, or twice that, at most. */
  slots: number[]
}

/**
 * Takes up to `wanted` slots, or a few more where the reserve comes in parts. What is for one person gets from the reserve
 * what the even flow has not at once. A clock that is set back costs at most two horizons.
 */
export function takeSlots(bucket: Bucket, flow: Flow, now: number, wanted: number, isForPerson: boolean): Taken {
  const { intervalSeconds, burst, horizonSeconds, permits, permitSize, cooldownSeconds } = flow
  const firstAt = Math.min(
    Math.max(bucket.nextAt, now - (burst - 1) * intervalSeconds),
    now + 2 * (horizonSeconds + intervalSeconds),
  )
  const slotsUntil = (time: number): number =>
    Math.max(0, Math.floor((time - firstAt) / intervalSeconds + ROUNDING) + 1)
  const recent = bucket.reserveUsed.filter((at) => at > now - cooldownSeconds && at <= now + cooldownSeconds)

  const evenNow = Math.min(wanted, slotsUntil(now))
  const freePermits = isForPerson ? Math.max(0, permits - recent.length) : 0
  const usedPermits = Math.min(freePermits, Math.ceil((wanted - evenNow) / permitSize))
  const reserved = usedPermits * permitSize
  const even = Math.min(slotsUntil(now + (isForPerson ? 2 : 1) * horizonSeconds), Math.max(evenNow, wanted - reserved))

  const slots = Array.from({ length: even }, (_, index) => Math.max(now, firstAt + index * intervalSeconds))
  return {
    bucket: {
      nextAt: firstAt + even * intervalSeconds,
      reserveUsed: [...recent, ...Array.from({ length: usedPermits }, () => now)],
    },
    slots: [...slots, ...Array.from({ length: reserved }, () => now)].toSorted((a, b) => a - b),
  }
}

/** Of an interval: so that a slot is not missed because of the last digit of a time. */
const ROUNDING = 0.01
