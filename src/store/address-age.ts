import type { Queryable } from '../db/db.ts'
import type { Address } from '../directory/directory.ts'

/** Whether the directory learned of an address after a time; null where the database has no such address. */
export async function isAddressNewer(
  db: Queryable,
  { companyId, userId }: { companyId: string; userId: string },
  { channel, value }: Pick<Address, 'channel' | 'value'>,
  than: string,
): Promise<boolean | null> {
  const [found] = await db.query<{ is_newer: boolean }>(
    `select created_at > $5::timestamptz as is_newer from address
     where company_id = $1 and user_id = $2 and channel = $3 and value = $4`,
    [companyId, userId, channel, value, than],
  )
  return found?.is_newer ?? null
}
