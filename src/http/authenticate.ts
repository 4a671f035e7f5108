import { apiKeyHash, apiKeyId } from '../core/api-key.ts'
import { SCOPES, type Scope } from '../core/scope.ts'
import type { Ports } from '../ports.ts'
import { findApiKey } from '../store/api-key.ts'
import type { Authenticate } from './access.ts'
import type { UserTokens } from './user-token.ts'

type KeyOwner = { keyId: string; companyId: string; scopes: readonly Scope[] }

/** A key that is known without asking the database: of the environment, or of the demo page. */
export type FixedKey = { key: string; keyId: string; scopes: readonly Scope[] }

/** A revoked key stops working within this time everywhere. */
const CACHED_MS = 10_000
const MAX_CACHED = 10_000

/** Keys of the environment have every right. They are compared by hash, so the time taken says nothing about them. */
export const environmentKeys = (keys: readonly string[]): FixedKey[] =>
  keys.map((key, index) => ({ key, keyId: `environment:${index + 1}`, scopes: SCOPES }))

/** Checks API keys and user tokens. Keys of the database are remembered for ten seconds, wrong ones are not. */
export function authenticator(
  { db }: Pick<Ports, 'db'>,
  tokens: Pick<UserTokens, 'verify'>,
  fixedKeys: readonly FixedKey[],
  clock: () => number = Date.now,
): Authenticate {
  const fixed = new Map<string, KeyOwner>(
    fixedKeys.map(({ key, keyId, scopes }) => [hashText(key), { keyId, companyId: '', scopes }]),
  )
  const cache = new Map<string, { owner: KeyOwner; untilMs: number }>()

  return {
    async service(key) {
      const hash = hashText(key)
      const known = fixed.get(hash) ?? fresh(cache.get(hash))
      if (known) return known
      // The checksum spares the database the guesses.
      if (apiKeyId(key) === null) return null

      const found = await findApiKey(db, apiKeyHash(key))
      if (!found) return null
      const owner = { keyId: found.id, companyId: found.company_id, scopes: found.scopes }
      if (cache.size >= MAX_CACHED) cache.clear()
      cache.set(hash, { owner, untilMs: clock() + CACHED_MS })
      return owner
    },

    user: (token) => tokens.verify(token),
  }

  function fresh(entry: { owner: KeyOwner; untilMs: number } | undefined): KeyOwner | null {
    return entry && entry.untilMs > clock() ? entry.owner : null
  }
}

const hashText = (key: string): string => apiKeyHash(key).toString('base64')
