import type { Logger } from 'pino'

/** Something done again and again. `everyMs` is counted from the end of one run to the start of the next. */
export type Chore = { name: string; everyMs: number; run: () => Promise<unknown> }

/**
 * Runs chores until stopped. A failing chore is logged and tried again at its next turn; it stops nothing else.
 * Chores say nothing about who else runs them: each must be harmless when several processes do.
 */
export function startScheduler(log: Logger, chores: readonly Chore[]): { stop: () => Promise<void> } {
  let isStopped = false
  const timers = new Map<string, NodeJS.Timeout>()
  const running = new Set<Promise<void>>()

  async function turn(chore: Chore): Promise<void> {
    try {
      await chore.run()
    } catch (error) {
      log.error({ err: error, chore: chore.name }, 'chore failed')
    }
    if (!isStopped)
      timers.set(
        chore.name,
        setTimeout(() => start(chore), chore.everyMs),
      )
  }

  function start(chore: Chore): void {
    const done = turn(chore).finally(() => running.delete(done))
    running.add(done)
  }

  for (const chore of chores) start(chore)

  return {
    async stop() {
      isStopped = true
      for (const timer of timers.values()) clearTimeout(timer)
      await Promise.all(running)
    },
  }
}
