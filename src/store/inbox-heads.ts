import type { Queryable } from '../db/db.ts'

/** The last change of several inboxes in one statement, in the order asked for; 0 where there is none yet. */
export async function inboxHeads(
  db: Queryable,
  users: readonly { companyId: string; userId: string }[],
): Promise<number[]> {
  const rows = await db.query<{ head: string }>(
    `select coalesce(inbox.head, 0) as head
       from unnest($1::text[], $2::text[]) with ordinality as asked (company_id, user_id, place)
       left join inbox using (company_id, user_id)
      order by place`,
    [users.map(({ companyId }) => companyId), users.map(({ userId }) => userId)],
  )
  return rows.map(({ head }) => Number(head))
}
