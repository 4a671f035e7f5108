import { isIP } from 'node:net'
import { hostName, isLoopback } from '../../core/setting-parsers.ts'

/** Where mail is handed over. */
export type SmtpServer = {
  host: string
  port: number
  /** TLS from the first byte (smtps); otherwise STARTTLS. */
  isSecure: boolean
  /** Only this machine reaches it, so encryption protects nothing. */
  isLoopback: boolean
  auth: { user: string; pass: string } | null
}

const PORTS: Record<string, number> = { 'smtp:': 587, 'smtps:': 465 }

/** Reads SMTP_URL. The messages never hold a part of it: it may carry a password. */
export function parseSmtpUrl(text: string): SmtpServer {
  const url = URL.parse(text)
  const defaultPort = PORTS[url?.protocol ?? '']
  if (!url || defaultPort === undefined) throw new Error('expected smtp://host or smtps://host')
  if (!['', '/'].includes(url.pathname) || url.search || url.hash || /[?#]/.test(text)) {
    throw new Error('expected nothing after the host and port: options have variables of their own')
  }
  const host = hostOf(url)
  const port = url.port === '' ? defaultPort : Number(url.port)
  if (port === 0) throw new Error('expected a port from 1 to 65535')
  return { host, port, isSecure: url.protocol === 'smtps:', isLoopback: isLoopback(host), auth: authOf(url) }
}

function hostOf(url: URL): string {
  const host = url.hostname.replace(/^\[(.+)\]$/, '$1')
  try {
    return isIP(host) === 0 ? hostName(host) : host
  } catch (cause) {
    throw new Error('expected smtp:// or smtps:// followed by a host name or an IP address', { cause })
  }
}

function authOf({ username, password }: URL): SmtpServer['auth'] {
  if (!username && !password) return null
  const auth = { user: decoded(username), pass: decoded(password) }
  if (auth.user && auth.pass) return auth
  throw new Error('expected both a user and a password before the @, or neither')
}

function decoded(text: string): string {
  try {
    const plain = decodeURIComponent(text)
    if (!/\p{Cc}/u.test(plain)) return plain
  } catch {
    // Answered below, with the other way of being malformed.
  }
  throw new Error('expected special characters in user and password as %XX')
}
