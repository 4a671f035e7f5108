/** Slots that one process holds: when each message may go, in milliseconds of its own clock. */
export type SlotPool = {
  add(times: readonly number[]): void
  /** How many may be used now. */
  due(now: number): number
  /** Takes up to `wanted` of those. */
  take(wanted: number, now: number): number[]
  /** Taken and not used: somebody else may, while they are fresh. */
  giveBack(count: number, now: number): void
  /** When the next one may be used; null where none is left. */
  nextAt(now: number): number | null
  clear(): void
}

/** A slot that is used late makes the time around it too full, so an old one is none. */
const STALE_MS = 50

/** Holds slots until their time. */
export function slotPool(): SlotPool {
  let slots: number[] = []

  function fresh(now: number): void {
    if ((slots[0] ?? now) < now - STALE_MS) slots = slots.filter((at) => at >= now - STALE_MS)
  }

  function due(now: number): number {
    fresh(now)
    const later = slots.findIndex((at) => at > now)
    return later === -1 ? slots.length : later
  }

  return {
    add(times) {
      slots = [...slots, ...times].toSorted((a, b) => a - b)
    },
    due,
    take(wanted, now) {
      return slots.splice(0, Math.min(wanted, due(now)))
    },
    giveBack(count, now) {
      slots = [...Array.from({ length: count }, () => now), ...slots].toSorted((a, b) => a - b)
    },
    nextAt(now) {
      fresh(now)
      return slots[0] ?? null
    },
    clear() {
      slots = []
    },
  }
}
