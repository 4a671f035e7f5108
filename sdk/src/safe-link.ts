/**
 * The URL if a page may offer it as a link: http(s), one mail address, a telephone number, or a path on the page's own
 * site. Null for `javascript:` and every
 * other scheme, for user names before the host, and for whatever a browser would have to repair first. The server has
 * checked links already; a page that shows them checks again.
 */
export function safeLink(url: string, base: string | URL = globalThis.location.origin): string | null {
  if (TELEPHONE.test(url) || MAIL.test(url)) return url
  if (HIDDEN.test(url) || url.includes('\\') || !/^(https?:\/\/[^/]|\/(?!\/))/i.test(url)) return null
  const parsed = URL.parse(url, base)
  if (!parsed || parsed.username !== '' || parsed.password !== '') return null
  if (url.startsWith('/') && parsed.origin !== new URL(base).origin) return null
  return parsed.protocol === 'https:' || parsed.protocol === 'http:' ? parsed.href : null
}

/** White space, control and formatting characters, broken Unicode. */
const HIDDEN = /[\s\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

const TELEPHONE = /^tel:\+?[\d().-]{1,40}$/i
const MAIL = /^mailto:[\w.+-]+@[\w.-]+$/i
