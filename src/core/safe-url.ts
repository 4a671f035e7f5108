const MAX_LENGTH = 2048
/** Never reached: it only gives relative paths something to stand on. */
const BASE = 'https://base.invalid'

/**
 * The URL, normalised, if it may be put before people: http(s), mailto, tel, or a path on the same site that starts with
 * one `/`. Null for everything else. What a browser would quietly repair (spaces, control characters, backslashes,
 * missing slashes) is refused: repaired, it leads somewhere other than it seems to.
 */
export function safeUrl(text: string): string | null {
  if (text.length === 0 || text.length > MAX_LENGTH || HIDDEN.test(text) || text.includes('\\')) return null
  if (text.startsWith('/')) return samePath(text)

  const scheme = /^[a-z]+(?=:)/i.exec(text)?.[0].toLowerCase()
  if (scheme === 'https' || scheme === 'http') return web(text)
  if (scheme === 'mailto') return isMailto(text) ? new URL(text).href : null
  if (scheme === 'tel') return /^tel:\+?[\d().-]{1,40}$/i.test(text) ? text.toLowerCase() : null
  return null
}

/** White space, control and formatting characters (also the ones that turn the reading direction), broken Unicode. */
const HIDDEN = /[\s\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

function samePath(text: string): string | null {
  if (text.startsWith('//') || !URL.canParse(text, BASE)) return null
  const { origin, pathname, search, hash } = new URL(text, BASE)
  // `/.//host` is normalised into `//host`, which is another site.
  return origin === BASE && !pathname.startsWith('//') ? pathname + search + hash : null
}

function web(text: string): string | null {
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1]
  if (authority === undefined || authority.includes('@') || !URL.canParse(text)) return null
  return new URL(text).href
}

/** Addresses, and the headers that people expect; an escaped line break would add headers of its own. */
const isMailto = (text: string): boolean =>
  /^mailto:[^?#,]+@[^?#,@]+(?:\?(?:subject|body)=[^#&]*(?:&(?:subject|body)=[^#&]*)*)?$/i.test(text) &&
  !/%0[ad]/i.test(text.split('?')[0] ?? '') &&
  !/subject=[^&]*%0[ad]/i.test(text) &&
  URL.canParse(text)
