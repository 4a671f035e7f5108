import type { Ports } from '../ports.ts'

/** One thing that must be so for this process to do its work. `check` rejects when it is not. */
export type Readiness = { name: string; check: () => Promise<void> }

export type ReadyAnswer = { isReady: boolean; checks: Record<string, 'ok' | 'failed'> }

const TIMEOUT_MS = 2_000
/** Anybody may ask, so asking often must cost nothing. */
const KEPT_MS = 1_000

/** Asks all at once, each with a time limit; who asks again within a second gets the same answer. */
export function ready({ log }: Pick<Ports, 'log'>, readiness: readonly Readiness[]): () => Promise<ReadyAnswer> {
  let last: { answer: Promise<ReadyAnswer>; until: number } | undefined

  return () => {
    if (!last || last.until < Date.now()) last = { answer: ask(), until: Date.now() + KEPT_MS }
    return last.answer
  }

  async function ask(): Promise<ReadyAnswer> {
    const results = await Promise.all(
      readiness.map(async (it) => [it.name, (await isFine(it)) ? 'ok' : 'failed'] as const),
    )
    return { isReady: results.every(([, result]) => result === 'ok'), checks: Object.fromEntries(results) }
  }

  async function isFine({ name, check }: Readiness): Promise<boolean> {
    const timeout = Promise.withResolvers<never>()
    const timer = setTimeout(() => timeout.reject(new Error(`No answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
    try {
      await Promise.race([check(), timeout.promise])
      return true
    } catch (error) {
      log.warn({ err: error, check: name }, 'not ready')
      return false
    } finally {
      clearTimeout(timer)
    }
  }
}
