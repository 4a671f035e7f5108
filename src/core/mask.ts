/**
 * A text without what must not be read in logs: passwords in URLs, query strings, API keys, tokens and e-mail addresses.
 * The last line of defence: nothing of the kind should be in the text at all.
 */
export const mask = (text: string): string =>
  text
    .replaceAll(/:\/\/[^\s/?#@"'\\]*@/g, '://[redacted]@')
    .replaceAll(/((?:https?|wss?|postgres(?:ql)?|smtps?):\/\/[^\s?"'\\]*)\?[^\s"'\\]*/g, '$1?[redacted]')
    .replaceAll(/\bsk_[\w-]{20,}/g, '[redacted key]')
    .replaceAll(/\beyJ[\w-]+\.[\w-]*\.?[\w-]*/g, '[redacted token]')
    .replaceAll(/[\p{L}\p{N}._%+-]{1,64}@[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})+/gu, '[redacted e-mail]')

/** A URL to show: everything but its password and query. A text that is no URL is returned masked. */
export function maskUrl(text: string): string {
  const url = URL.parse(text)
  if (!url?.host) return mask(text)
  if (!url.password && !url.search) return text
  if (url.password) url.password = '***'
  if (url.search) url.search = '?***'
  return url.href
}
