import { coalesced } from '../core/coalesce.ts'
import type { Db } from '../db/db.ts'
import { blockAddress, findUsers } from '../store/directory-user.ts'
import type { Directory } from './directory.ts'

const MAX_USERS = 500
const MAX_RUNNING = 4

/** The users that services put here over HTTP. Those that are looked for at the same time are found together. */
export function databaseDirectory(db: Db): Directory {
  const find = coalesced((wanted: { companyId: string; userId: string }[]) => findUsers(db, wanted), {
    maxInputs: MAX_USERS,
    maxRunning: MAX_RUNNING,
  })
  return {
    find: (companyId, userId) => find({ companyId, userId }),
    forget: (address, reason, deliveryId) => blockAddress(db, address, reason, deliveryId),
  }
}
