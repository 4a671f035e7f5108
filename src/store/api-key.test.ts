import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { apiKeyHash, newApiKey } from '../core/api-key.ts'
import type { Scope } from '../core/scope.ts'
import { findApiKey, insertApiKey, listApiKeys, revokeApiKey } from './api-key.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

async function stored(values: { companyId?: string; expiresAt?: Date; name?: string } = {}) {
  const { id, key } = newApiKey()
  const scopes: Scope[] = ['events:write']
  await insertApiKey(database.db, { id, hash: apiKeyHash(key), name: 'shop', scopes, ...values })
  return { id, hash: apiKeyHash(key) }
}

const lastUsed = async (id: string): Promise<string | null> => {
  const keys = await listApiKeys(database.db, { limit: 1000 })
  return keys.find((key) => key.id === id)!.last_used_at
}

suite('a stored API key', () => {
  test('is found by its hash, with what it may do and for whom', async () => {
    const { id, hash } = await stored({ companyId: 'acme' })

    expect(await findApiKey(database.db, hash)).toEqual({ id, company_id: 'acme', scopes: ['events:write'] })
    expect(await findApiKey(database.db, apiKeyHash(newApiKey().key))).toBeNull()
  })

  test('is not found once it is revoked, and can be revoked only once', async () => {
    const { id, hash } = await stored()

    const results = await Promise.all([revokeApiKey(database.db, id), revokeApiKey(database.db, id)])

    expect(results.sort()).toEqual([false, true])
    expect(await findApiKey(database.db, hash)).toBeNull()
  })

  test('stays revoked when it is stored again, as the first key is on every start', async () => {
    const { id, hash } = await stored()
    await revokeApiKey(database.db, id)

    const isNew = await insertApiKey(database.db, { id, hash, name: 'again', scopes: ['keys:write'] })

    expect(isNew).toBe(false)
    expect(await findApiKey(database.db, hash)).toBeNull()
  })

  test('is not found after its time', async () => {
    const { hash } = await stored({ expiresAt: new Date(Date.now() - 1000) })
    const { hash: valid } = await stored({ expiresAt: new Date(Date.now() + 60_000) })

    expect(await findApiKey(database.db, hash)).toBeNull()
    expect(await findApiKey(database.db, valid)).not.toBeNull()
  })

  test('notes that it was used, and not again within a minute', async () => {
    const { id, hash } = await stored()
    expect(await lastUsed(id)).toBeNull()

    await findApiKey(database.db, hash)
    const first = await lastUsed(id)
    await findApiKey(database.db, hash)

    expect(Date.parse(first!)).toBeGreaterThan(Date.now() - 60_000)
    expect(await lastUsed(id)).toBe(first)
    await database.db.query(`update api_key set last_used_at = now() - interval '61 seconds' where id = $1`, [id])
    await findApiKey(database.db, hash)
    expect(Date.parse((await lastUsed(id))!)).toBeGreaterThanOrEqual(Date.parse(first!))
  })

  test('is listed and revoked within its company only, when a company asks', async () => {
    const { id } = await stored({ companyId: 'globex', name: 'till' })
    const { id: other } = await stored({ companyId: 'initech' })

    const keys = await listApiKeys(database.db, { companyId: 'globex', limit: 10 })

    expect(keys.map(({ id, name, company_id }) => ({ id, name, company_id }))).toEqual([
      { id, name: 'till', company_id: 'globex' },
    ])
    expect(JSON.stringify(keys)).not.toContain('hash')
    expect(await revokeApiKey(database.db, other, 'globex')).toBe(false)
    expect(await revokeApiKey(database.db, id, 'globex')).toBe(true)
  })
})
