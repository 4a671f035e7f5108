import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { apiKeyHash, apiKeyId, newApiKey } from './api-key.ts'

suite('an API key', () => {
  test('has the public form sk_<id>_<secret and checksum>', () => {
    const { id, key } = newApiKey()

    expect(key).toMatch(/^sk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/)
    expect(apiKeyId(key)).toBe(id)
  })

  test('is never made twice', () => {
    const keys = new Set(Array.from({ length: 500 }, () => newApiKey().key))

    expect(keys.size).toBe(500)
  })

  test('is refused with any one character changed', () => {
    const { key } = newApiKey()

    for (let i = 0; i < key.length; i++) {
      const changed = key.slice(0, i) + (key[i] === 'x' ? 'y' : 'x') + key.slice(i + 1)
      expect(apiKeyId(changed), `character ${i}`).toBeNull()
    }
  })

  test('is refused cut off, prolonged, or with anything around it', () => {
    const { key } = newApiKey()

    for (const text of [key.slice(0, -1), `${key}0`, ` ${key}`, `${key}\n`, key.toUpperCase(), '', 'sk_', 'sk__']) {
      expect(apiKeyId(text)).toBeNull()
    }
  })

  test('is not found in any other text', () => {
    fc.assert(fc.property(fc.string(), (text) => apiKeyId(text) === null))
  })

  test('has a checksum that does not change between versions', () => {
    expect(apiKeyId('sk_000000000000_00000000000000000000000000000000000000000001a077h')).toBe('000000000000')
  })

  test('is stored as its SHA-256', () => {
    expect(apiKeyHash('sk_a').toString('hex')).toBe('4cdaf970137f67ee659f7f37a7f1deb1ed099c16ca0718aff7d961fcea0ca704')
  })
})
