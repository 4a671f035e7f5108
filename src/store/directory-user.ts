import type { JsonObject } from '../core/json.ts'
import { binaryArray } from '../db/binary-array.ts'
import type { Queryable } from '../db/db.ts'
import type { Address, User } from '../directory/directory.ts'

/** A user as he is to be from now on. What is absent stays as it was; null takes it away. */
export type UserChange = {
  user_id: string
  locale?: string | null
  time_zone?: string | null
  profile?: JsonObject
  /** By channel: all addresses from now on. Those that were there keep their state. */
  addresses?: Record<string, string[]>
}

/** Creates or changes users of one company, each named once; all or none of them. */
export async function putUsers(db: Queryable, companyId: string, users: readonly UserChange[]): Promise<void> {
  await db.query(PUT, [companyId, JSON.stringify(users)])
}

const PUT = `
with input as materialized (
  select entry ->> 'user_id' as user_id, entry from jsonb_array_elements($2::text::jsonb) as list(entry)
),
saved as (
  insert into directory_user (company_id, user_id, locale, time_zone, profile)
  select $1, user_id, entry ->> 'locale', entry ->> 'time_zone', coalesce(entry -> 'profile', '{}') from input order by user_id
  on conflict (company_id, user_id) do update set
    (locale, time_zone, profile, updated_at) = (
      select
        case when entry ? 'locale' then excluded.locale else directory_user.locale end,
        case when entry ? 'time_zone' then excluded.time_zone else directory_user.time_zone end,
        case when entry ? 'profile' then excluded.profile else directory_user.profile end,
        now()
      from input where input.user_id = excluded.user_id)
),
listed as materialized (
  select user_id, channel, list from input, jsonb_each(coalesce(entry -> 'addresses', '{}')) as channels(channel, list)
),
removed as (
  delete from address using listed
  where address.company_id = $1 and address.user_id = listed.user_id and address.channel = listed.channel
    and not listed.list ? address.value
)
insert into address (company_id, user_id, channel, value)
select $1, user_id, channel, value from listed, jsonb_array_elements_text(list) as value
order by user_id, channel, value
on conflict do nothing`

/** The user with all his addresses, or null. */
export const findUser = async (db: Queryable, companyId: string, userId: string): Promise<User | null> =>
  (await findUsers(db, [{ companyId, userId }]))[0] ?? null

/** Each of the users, or null, in the order in which they were asked for. */
export async function findUsers(
  db: Queryable,
  wanted: readonly { companyId: string; userId: string }[],
): Promise<(User | null)[]> {
  const rows = await db.query<User & { n: number }>(
    `select n::integer, company_id, user_id, locale, time_zone, profile, (
       select coalesce(jsonb_agg(jsonb_build_object(
         'id', address.id::text, 'channel', channel, 'value', value, 'state', state) order by address.id), '[]')
       from address where address.company_id = directory_user.company_id and address.user_id = directory_user.user_id
     ) as addresses
     from unnest($1::text[], $2::text[]) with ordinality as wanted(company_id, user_id, n)
     join directory_user using (company_id, user_id)`,
    [binaryArray('text', wanted, ({ companyId }) => companyId), binaryArray('text', wanted, ({ userId }) => userId)],
  )
  const users: (User | null)[] = wanted.map(() => null)
  for (const { n, ...user } of rows) users[n - 1] = user
  return users
}

/** Erases what the directory knows of a user; false when it knew nothing. */
export async function deleteUser(db: Queryable, companyId: string, userId: string): Promise<boolean> {
  const rows = await db.query('delete from directory_user where company_id = $1 and user_id = $2 returning user_id', [
    companyId,
    userId,
  ])
  return rows.length > 0
}

/** Nothing is sent to this address any more, and `deliveryId` is why. */
export async function blockAddress(
  db: Queryable,
  { id }: Pick<Address, 'id'>,
  reason: string,
  deliveryId: string,
): Promise<void> {
  await db.query(
    `update address set state = 'blocked', reason = $2, evidence_delivery_id = $3, updated_at = now()
     where id = $1 and state = 'active'`,
    [id, reason, deliveryId],
  )
}
