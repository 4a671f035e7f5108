import type { Queryable } from '../db/db.ts'

/** Processes that start at the same time import one after another. Holds until the end of the transaction. */
export async function lockCatalog(tx: Queryable): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(hashtext('eventcenter:catalog'))`)
}

/** What was imported last: the hash of each file's content, by name. */
export async function importedFiles(db: Queryable): Promise<Map<string, string>> {
  const rows = await db.query<{ name: string; hash: string }>('select name, hash from catalog_file')
  return new Map(rows.map(({ name, hash }) => [name, hash]))
}

export async function noteImported(db: Queryable, name: string, hash: string): Promise<void> {
  await db.query(
    `insert into catalog_file (name, hash) values ($1, $2)
     on conflict (name) do update set hash = excluded.hash, imported_at = now()`,
    [name, hash],
  )
}
