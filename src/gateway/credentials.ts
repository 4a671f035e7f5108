import type { IncomingMessage } from 'node:http'

/** Where a browser keeps the user token when the page itself must not hold it. */
export const TOKEN_COOKIE = 'ec_token'

export type Credentials = { token: string; from: 'query' | 'header' | 'cookie' }

/**
 * The token that came with the upgrade, or null: then the first frame brings it. A cookie is sent by the browser
 * whatever page asks, so it counts only where the page's origin is known (and was allowed before).
 */
export function credentialsOf(request: IncomingMessage): Credentials | null {
  const query = new URL(request.url ?? '/', 'http://localhost').searchParams.get('token')
  if (query) return { token: query, from: 'query' }

  const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return { token: bearer, from: 'header' }

  const cookie = request.headers.origin === undefined ? undefined : cookieOf(request.headers.cookie ?? '')
  return cookie === undefined ? null : { token: cookie, from: 'cookie' }
}

function cookieOf(header: string): string | undefined {
  for (const pair of header.split(';')) {
    const [name, value] = pair.trim().split('=', 2)
    if (name === TOKEN_COOKIE && value) return value
  }
  return undefined
}
