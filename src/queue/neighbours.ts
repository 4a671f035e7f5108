import { coalesced } from '../core/coalesce.ts'
import type { Db } from '../db/db.ts'

const CHANNEL = 'eventcenter_work'

/**
 * The other processes that work on the same queue. They are told of new work by a NOTIFY of its own, after the commit:
 * within the transaction it would make all commits of the database wait for each other. A message may be lost; the poll
 * finds the work then.
 */
export function neighbours(db: Db, workerId: string, onWork: () => void) {
  let listening: Promise<{ stop: () => Promise<void> } | null> | undefined

  const notify = coalesced(
    async (calls: null[]) => {
      await db.query('select pg_notify($1, $2)', [CHANNEL, workerId])
      return calls
    },
    { maxInputs: Number.MAX_SAFE_INTEGER, maxRunning: 1 },
  )

  return {
    tell(): void {
      notify(null).catch(() => {}) // a database that is away has no work to tell of; the poll is there
    },

    listen(): void {
      listening ??= db
        .listen(CHANNEL, (from) => (from === workerId ? undefined : onWork()), onWork)
        .catch(() => {
          listening = undefined
          return null
        })
    },

    async close(): Promise<void> {
      await (await listening)?.stop()
    },
  }
}
