import type { Queryable } from '../db/db.ts'
import type { Scope } from '../core/scope.ts'

/** A key as it is listed: everything but the key. Times are RFC 3339 UTC. */
export type ApiKey = {
  id: string
  company_id: string
  name: string
  scopes: Scope[]
  created_at: string
  expires_at: string | null
  revoked_at: string | null
  last_used_at: string | null
}

export type NewApiKey = {
  id: string
  hash: Buffer
  name: string
  scopes: readonly Scope[]
  /** Absent: the key is of the platform, and may act for every company. */
  companyId?: string
  expiresAt?: Date
}

/** Stores a key by its hash; false when it is there already, whatever became of it (a revoked key stays revoked). */
export async function insertApiKey(
  db: Queryable,
  { id, hash, name, scopes, companyId = '', expiresAt }: NewApiKey,
): Promise<boolean> {
  const rows = await db.query(
    `insert into api_key (id, company_id, name, hash, scopes, expires_at)
     values ($1, $2, $3, $4, $5::text[], $6)
     on conflict do nothing
     returning id`,
    [id, companyId, name, hash, scopes, expiresAt ?? null],
  )
  return rows.length > 0
}

/**
 * The key with this hash, while it is valid. Notes that it was used, at most once a minute, so that a busy key costs no
 * write for each request.
 */
export async function findApiKey(
  db: Queryable,
  hash: Buffer,
): Promise<{ id: string; company_id: string; scopes: Scope[] } | null> {
  const [key] = await db.query<{ id: string; company_id: string; scopes: Scope[] }>(
    `with used as (
       update api_key set last_used_at = now()
       where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
         and (last_used_at is null or last_used_at < now() - interval '1 minute')
     )
     select id, company_id, scopes from api_key
     where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())`,
    [hash],
  )
  return key ?? null
}

/** All keys of a company, or of all with `companyId` absent; the newest first. */
export async function listApiKeys(
  db: Queryable,
  { companyId, limit, offset = 0 }: { companyId?: string; limit: number; offset?: number },
): Promise<ApiKey[]> {
  return db.query<ApiKey>(
    `select id, company_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
     from api_key
     where $1::text is null or company_id = $1
     order by created_at desc, id
     limit $2 offset $3`,
    [companyId ?? null, limit, offset],
  )
}

/** Ends a key for good; false when there is no such key, or none of this company, or it was revoked before. */
export async function revokeApiKey(db: Queryable, id: string, companyId?: string): Promise<boolean> {
  const rows = await db.query(
    `update api_key set revoked_at = now()
     where id = $1 and revoked_at is null and ($2::text is null or company_id = $2)
     returning id`,
    [id, companyId ?? null],
  )
  return rows.length > 0
}
