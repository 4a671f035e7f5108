import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import { AppError } from '../core/errors.ts'

/** How long a killed owner may need to disappear. */
const PATIENCE_MS = 3000
const SQLITE_BUSY = 5

/**
 * Makes this process the only one that runs a server over `directory`. SQLite is here for its file lock, which the
 * kernel releases with the process however that ends; Node has no other lock of the kind.
 */
export async function ownDirectory(directory: string, patienceMs = PATIENCE_MS): Promise<{ release: () => void }> {
  const lock = new DatabaseSync(join(directory, 'server.lock'), { timeout: 0 })
  for (const start = performance.now(); ; await sleep(50)) {
    try {
      lock.exec('begin exclusive')
      return { release: () => lock.close() }
    } catch (cause) {
      const isBusy = (cause as { errcode?: number }).errcode === SQLITE_BUSY
      if (isBusy && performance.now() - start < patienceMs) continue
      lock.close()
      if (!isBusy) throw cause
      throw new AppError('conflict', `Another EventCenter server is running on ${directory}. Stop it first.`, { cause })
    }
  }
}
