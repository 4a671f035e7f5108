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

  function turn(chore: Chore): void {
    const done = chore
      .run()
      .catch((error: unknown) => log.error({ err: error, chore: chore.name }, 'chore failed'))
      .then(() => {
        running.delete(done)
        if (!isStopped) plan(chore)
      })
    running.add(done)
  }

  const plan = (chore: Chore): void => {
    timers.set(
      chore.name,
      setTimeout(() => turn(chore), chore.everyMs),
    )
  }

  for (const chore of chores) turn(chore)

  return {
    async stop() {
      isStopped = true
      for (const timer of timers.values()) clearTimeout(timer)
      await Promise.all(running)
    },
  }
}
