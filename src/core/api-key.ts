import { hash, randomInt } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * API keys: `sk_<id>_<secret><checksum>`, in base62. The id (12 characters) is public and names the key in lists; the
 * secret (43 characters) has 256 bits; the checksum (6 characters, CRC-32 of all before it) tells a mistyped or cut-off
 * key, and lets secret scanners recognise keys without asking us.
 */
const PATTERN = /^(sk_([0-9A-Za-z]{12})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})$/
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** A new key. `key` is shown once and never stored. */
export function newApiKey(): { id: string; key: string } {
  const id = randomText(12)
  const body = `sk_${id}_${randomText(43)}`
  return { id, key: body + checksum(body) }
}

/** The id inside a well-formed key; null for any other text. It says nothing of whether the key is known. */
export function apiKeyId(key: string): string | null {
  const [, body, id, sum] = PATTERN.exec(key) ?? []
  return body !== undefined && id !== undefined && checksum(body) === sum ? id : null
}

/** What is stored of a key: SHA-256. A slow hash would add nothing, as 256 random bits cannot be guessed. */
export const apiKeyHash = (key: string): Buffer => hash('sha256', key, 'buffer')

const randomText = (length: number): string => Array.from({ length }, () => ALPHABET[randomInt(62)]).join('')

/** CRC-32 has 32 bits, and six base62 digits hold 35. */
function checksum(text: string): string {
  let rest = crc32(text)
  let digits = ''
  for (let i = 0; i < 6; i++) {
    digits = ALPHABET.charAt(rest % 62) + digits
    rest = Math.floor(rest / 62)
  }
  return digits
}
