import type { Db } from '../db/db.ts'
import { blockAddress, findUser } from '../store/directory-user.ts'
import type { Directory } from './directory.ts'

/** The users that services put here over HTTP. */
export const databaseDirectory = (db: Db): Directory => ({
  find: (companyId, userId) => findUser(db, companyId, userId),
  forget: (address, reason, deliveryId) => blockAddress(db, address, reason, deliveryId),
})
