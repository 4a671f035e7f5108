/** Does work when one of a few places is free. */
export type InTurn = <Result>(urgency: Urgency, signal: AbortSignal, work: () => Promise<Result>) => Promise<Result>

export type Urgency = 'urgent' | 'patient'

/**
 * Has so many places. A place that becomes free is for who waits longest, in turn of the urgent, whenever they came, and of
 * the patient, who would give up waiting where the urgent are too many. Whose signal comes while he waits is rejected in the
 * words of nodemailer.
 */
export function urgentFirst(places: number): InTurn {
  const waiting: Record<Urgency, Set<() => void>> = { urgent: new Set(), patient: new Set() }
  let free = places
  let next: Urgency = 'urgent'

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
    const other = next === 'urgent' ? 'patient' : 'urgent'
    for (const urgency of [next, other] as const) {
      const [first] = waiting[urgency]
      if (!first) continue
      waiting[urgency].delete(first)
      next = urgency === 'urgent' ? 'patient' : 'urgent'
      first()
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
