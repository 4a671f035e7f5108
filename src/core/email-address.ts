import { domainToASCII } from 'node:url'

/** RFC 5321 4.5.3.1: a path of 256 octets without its angle brackets, and the part before the `@`. */
const MAX_BYTES = 254
const MAX_LOCAL_BYTES = 64

/**
 * Dot-atom of RFC 5322. No quoted strings, comments or groups, which mail libraries read in surprising ways, and no `%`
 * and `!`, which old servers take for a route to somebody else.
 */
const LOCAL_PART = /^[\w#$&'*+/=?^`{|}~-]+(?:\.[\w#$&'*+/=?^`{|}~-]+)*$/
/** Letters, digits, hyphens and dots of any script; what is a valid name is then decided by IDNA. */
const DOMAIN = /^[\p{L}\p{M}\p{N}.-]+$/u
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * The one way text becomes an e-mail address. Returns it in canonical form (domain in lower case, IDN as punycode), or
 * null for anything that is not exactly one plain address: mail libraries are lenient and would send to what hides in
 * the rest. The part before the `@` keeps its case, which only its own server may ignore.
 */
export function parseAddress(text: string): string | null {
  if (text.length > MAX_BYTES) return null
  const at = text.indexOf('@')
  const localPart = text.slice(0, at)
  if (at < 1 || localPart.length > MAX_LOCAL_BYTES || !LOCAL_PART.test(localPart)) return null

  const domain = asciiDomain(text.slice(at + 1))
  if (domain === null) return null
  const address = `${localPart}@${domain}`
  return address.length <= MAX_BYTES ? address : null
}

/** The domain of an address that `parseAddress` returned. */
export const domainOf = (address: string): string => address.slice(address.indexOf('@') + 1)

function asciiDomain(text: string): string | null {
  if (!DOMAIN.test(text)) return null
  const domain = domainToASCII(text)
  const labels = domain.split('.')
  // A last label of digits would be an IPv4 address, which an address may name in brackets only.
  const isName = labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? '')
  return isName ? domain : null
}
