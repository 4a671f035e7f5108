import { configOfProcess } from '../config.ts'
import { apiKeyHash, newApiKey } from '../core/api-key.ts'
import { AppError } from '../core/errors.ts'
import { isScope, SCOPES, type Scope } from '../core/scope.ts'
import { insertApiKey, listApiKeys, revokeApiKey } from '../store/api-key.ts'
import { withDatabase } from './database.ts'
import { seconds } from './duration.ts'
import { columns, print, tell, visible } from './print.ts'

const PAGE = 500

/** `eventcenter key create`: the key alone goes to stdout, once. */
export async function createKey(options: {
  name: string
  scope: string[]
  company?: string
  ttl?: string
}): Promise<void> {
  const { id, key } = newApiKey()
  const scopes = parseScopes(options.scope)
  const row = {
    id,
    hash: apiKeyHash(key),
    name: options.name,
    scopes,
    ...(options.company !== undefined && { companyId: options.company }),
    ...(options.ttl !== undefined && { expiresAt: new Date(Date.now() + seconds(options.ttl) * 1000) }),
  }
  await withDatabase(configOfProcess(), (db) => insertApiKey(db, row))
  tell(`Key ${id} may: ${scopes.join(', ')}. It is shown only now, keep it:`)
  print(key)
}

/** `eventcenter key list`: what there is to know of every key. */
export async function listKeys(options: { company?: string }): Promise<void> {
  await withDatabase(configOfProcess(), async (db) => {
    const rows = [['ID', 'STATE', 'LAST USED', 'COMPANY', 'NAME', 'SCOPES']]
    for (let offset = 0; ; offset += PAGE) {
      const company = options.company === undefined ? {} : { companyId: options.company }
      const keys = await listApiKeys(db, { ...company, limit: PAGE, offset })
      for (const key of keys) {
        const lastUsed = key.last_used_at?.slice(0, 16) ?? 'never'
        rows.push([
          key.id,
          stateOf(key),
          lastUsed,
          visible(key.company_id) || '-',
          visible(key.name),
          key.scopes.join(' '),
        ])
      }
      if (keys.length < PAGE) break
    }
    for (const line of columns(rows)) print(line)
  })
}

/** `eventcenter key revoke`: ends a key for good. */
export async function revokeKey(id: string): Promise<void> {
  const isRevoked = await withDatabase(configOfProcess(), (db) => revokeApiKey(db, id))
  if (!isRevoked) throw new AppError('not-found', 'There is no such key, or it was revoked before')
  print(`Key ${id} is revoked. Servers that run notice it within a minute.`)
}

function parseScopes(given: readonly string[]): Scope[] {
  const words = given.flatMap((text) => text.split(',')).filter((word) => word !== '')
  if (words.includes('all')) return [...SCOPES]
  if (words.length === 0) throw new AppError('invalid', `Name at least one scope: all, ${SCOPES.join(', ')}`)
  const unknown = words.find((word) => !isScope(word))
  if (unknown !== undefined) {
    throw new AppError('invalid', `There is no scope "${visible(unknown)}". Scopes: all, ${SCOPES.join(', ')}`)
  }
  return [...new Set(words.filter(isScope))]
}

function stateOf({ revoked_at, expires_at }: { revoked_at: string | null; expires_at: string | null }): string {
  if (revoked_at !== null) return 'revoked'
  return expires_at !== null && Date.parse(expires_at) <= Date.now() ? 'expired' : 'valid'
}
