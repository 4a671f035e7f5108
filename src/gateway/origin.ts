/**
 * May a page of this origin open a socket here? Browsers always say where a page is from, and WebSockets are under no
 * same-origin rule, so this check is the only one. Programs that are no browsers send no Origin and hold a token anyway.
 * Exact comparison, no patterns; `null` (sandboxed and local pages) is nobody.
 */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  allowedOrigins: ReadonlySet<string>,
): boolean {
  if (origin === undefined) return true
  if (allowedOrigins.has(origin)) return true
  // The scheme cannot be compared: a proxy may end TLS before us.
  return host !== undefined && (origin === `https://${host}` || origin === `http://${host}`)
}
