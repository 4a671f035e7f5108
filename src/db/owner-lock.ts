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
  const path = join(directory, 'server.lock')
  for (const start = performance.now(); ; await sleep(50)) {
    try {
      return lockFile(path)
    } catch (cause) {
      if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) {
        throw new AppError('invalid', `${path} cannot be locked: ${(cause as Error).message}`, { cause })
      }
      if (performance.now() - start < patienceMs) continue
      throw new AppError('conflict', `Another EventCenter server is running on ${directory}. Stop it first.`)
    }
  }
}

function lockFile(path: string): { release: () => void } {
  const file = new DatabaseSync(path, { timeout: 0 })
  try {
    file.exec('pragma journal_mode = memory; begin exclusive') // no second file beside it
  } catch (error) {
    file.close()
    throw error
  }
  return { release: () => file.close() }
}
