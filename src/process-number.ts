import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db } from './db/db.ts'
import { freeProcessNumber, renewProcessNumber, takeProcessNumber } from './store/process-number.ts'

export type ProcessNumber = {
  processId: string
  current: () => number
  /** Keeps the number, or takes another when the process was paused for so long that it lost its own. */
  renew: () => Promise<void>
  free: () => Promise<void>
}

const TRIES = 10

/** Takes a number for this process, see `core/id.ts`. */
export async function processNumber(db: Db, roles: readonly string[]): Promise<ProcessNumber> {
  const processId = randomUUID()
  const take = async (): Promise<number> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await takeProcessNumber(db, { processId, host: hostname(), pid: process.pid, roles })
      } catch (error) {
        if (attempt === TRIES) throw error
        await sleep(20 + Math.random() * 200)
      }
    }
  }
  let number = await take()

  return {
    processId,
    current: () => number,
    async renew() {
      if (!(await renewProcessNumber(db, number, processId))) number = await take()
    },
    free: () => freeProcessNumber(db, number, processId),
  }
}
