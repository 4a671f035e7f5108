/** Does work when one of a few places is free. */
export type InTurn = <Result>(urgency: Urgency, signal: AbortSignal, work: () => Promise<Result>) => Promise<Result>

export type Urgency = 'urgent' | 'patient'

/** So many urgent ones come before the patient, who would wait for ever where the urgent are too many for the places. */
const URGENT_IN_A_ROW = 4

/**
 * Has so many places. A place that becomes free is for who waits longest, the urgent first, whenever they came. Whose signal
 * comes while he waits is rejected in the words of nodemailer.
 */
export function urgentFirst(places: number): InTurn {
  const waiting: Record<Urgency, Set<() => void>> = { urgent: new Set(), patient: new Set() }
  let free = places
  let inARow = 0

  async function place(urgency: Urgency, signal: AbortSignal): Promise<void> {
    if (free > 0) {
      free -= 1
      return
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const giveUp = (): void => {
      waiting[urgency].delete(resolve)
      reject(Object.assign(new Error('Stopped while waiting'), { code: 'EABORT' }))
    }
    waiting[urgency].add(resolve)
    signal.addEventListener('abort', giveUp, { once: true })
    if (signal.aborted) giveUp()
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  /** The place goes on to the next, or is free. */
  function leave(): void {
    const order: Urgency[] = inARow < URGENT_IN_A_ROW ? ['urgent', 'patient'] : ['patient', 'urgent']
    for (const urgency of order) {
      const [next] = waiting[urgency]
      if (!next) continue
      waiting[urgency].delete(next)
      inARow = urgency === 'urgent' ? inARow + 1 : 0
      next()
      return
    }
    free += 1
  }

  return async (urgency, signal, work) => {
    await place(urgency, signal)
    try {
      return await work()
    } finally {
      leave()
    }
  }
}
