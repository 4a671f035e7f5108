import { createECDH } from 'node:crypto'
import { isIP } from 'node:net'
import { parseAddress } from './core/email-address.ts'
import {
  baseUrl,
  hostName,
  languageTag,
  line,
  listOf,
  numbersOf,
  oneOf,
  optional,
  origin,
  required,
  secureUrl,
  wholeNumber,
} from './core/setting-parsers.ts'
import type { Setting } from './core/setting.ts'

export const ROLES = ['api', 'worker', 'gateway', 'scheduler'] as const
/** What a process does. */
export type Role = (typeof ROLES)[number]

/** The environment variables that EventCenter itself reads; those of a channel stand in the channel's file. */
export const coreSettings = {
  PORT: {
    describe: 'Port of the API, the WebSocket and the pages; 0 takes any free one.',
    default: '3000',
    parse: required(wholeNumber(0, 65_535)),
  },
  HOST: {
    describe: 'Address to listen on. Only this machine unless set; 0.0.0.0 is every network.',
    default: '127.0.0.1',
    parse: required(hostName),
  },
  PUBLIC_URL: {
    describe: 'Address under which people and services reach this server, for links. By default where it listens.',
    parse: optional(baseUrl),
  },
  ROLES: {
    describe: 'What this process does: any of api, worker, gateway, scheduler.',
    default: ROLES.join(','),
    parse: required(listOf(oneOf(...ROLES))),
  },
  DATABASE_URL: {
    describe: 'The database: postgres://… of a PostgreSQL 15 or newer, or embedded:FOLDER to run one from there.',
    default: 'embedded:./data',
    parse: required(databaseUrl),
  },
  DATA_DIR: {
    describe: 'Folder of generated secrets; with an embedded database it is the folder of DATABASE_URL.',
    default: './data',
    parse: required(line),
  },
  API_KEYS: {
    describe:
      'Service keys that always work, with every right, separated by commas; each sk_ and 32 or more characters.',
    secret: true,
    parse: (text) => (text === undefined ? [] : listOf(staticApiKey)(text)),
  },
  JWT_SECRET: {
    describe:
      'Secret that signs the tokens of end users (HS256), 32 bytes or more. Generated with an embedded database.',
    secret: true,
    parse: optional(jwtSecret),
  },
  JWKS_URL: {
    describe: 'Public keys that sign the tokens of end users (RS256, ES256, EdDSA), instead of JWT_SECRET.',
    parse: optional(secureUrl),
  },
  JWT_ISSUER: { describe: 'The `iss` that tokens of end users must have.', parse: optional(line) },
  JWT_AUDIENCE: { describe: 'The `aud` that tokens of end users must have.', parse: optional(line) },
  ALLOWED_ORIGINS: {
    describe: 'Other origins whose pages may call the API and open WebSockets, separated by commas.',
    parse: (text) => (text === undefined ? [] : listOf(origin)(text)),
  },
  TRUST_PROXY: {
    describe: 'Proxies whose X-Forwarded-* headers count: their number, or their addresses (CIDR) separated by commas.',
    parse: optional(proxies),
  },
  DEMO: {
    describe: 'The demo page: true, false, or auto = only with an embedded database and HOST on this machine.',
    default: 'auto',
    parse: required(oneOf('true', 'false', 'auto')),
  },
  DEFAULT_LOCALE: {
    describe: 'Language for people whose language is not known.',
    default: 'en',
    parse: required(languageTag),
  },
  CATALOG: {
    describe:
      'Folders of event types and templates to import at start, separated by commas. By default the built-in one.',
    parse: optional(listOf(line)),
  },
  LOG_LEVEL: {
    describe: 'Least important log lines to write: trace, debug, info, warn, error, fatal, silent.',
    default: 'info',
    parse: required(oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent')),
  },
  LEASE_SECONDS: {
    describe: 'How long a worker holds deliveries before others may take them over, at most 10 seconds later.',
    default: '20',
    parse: required(wholeNumber(5, 3600)),
  },
  UNCERTAIN_RESEND_SECONDS: {
    describe: 'Wait before a message that may have arrived is sent once more, where its channel resends.',
    default: '300',
    parse: required(wholeNumber(0, 86_400)),
  },
  WORKER_CONCURRENCY: {
    describe: 'Deliveries of one channel and lane that one process sends at the same time.',
    default: '50',
    parse: required(wholeNumber(1, 1000)),
  },
  P2P_RESERVE_PERCENT: {
    describe: 'Of what a provider may be given (EMAIL_PER_SECOND), kept for messages to one person.',
    default: '20',
    parse: required(wholeNumber(0, 90)),
  },
  RETRY_SECONDS: {
    describe:
      'Seconds before the second, third, … attempt, separated by commas, for all channels instead of their own.',
    parse: optional(numbersOf(0, 7 * 24 * 3600, 20)),
  },
  RATE_LIMIT_SERVICE_PER_MINUTE: {
    describe: 'Requests that one API key may make in a minute.',
    default: '60000',
    parse: required(wholeNumber(1, 100_000_000)),
  },
  RATE_LIMIT_USER_PER_MINUTE: {
    describe: 'Requests that one end user may make in a minute.',
    default: '300',
    parse: required(wholeNumber(1, 1_000_000)),
  },
  MAX_WAITING_ACCEPTS: {
    describe: 'Events that may wait to be stored before new ones are answered with 503.',
    default: '10000',
    parse: required(wholeNumber(1, 1_000_000)),
  },
  RETENTION_DAYS_EVENTS: {
    describe: 'Days that events, their deliveries and attempts are kept; 0 is for ever. Whole weeks are removed.',
    default: '90',
    parse: required(wholeNumber(0, 36_500)),
  },
  RETENTION_DAYS_NOTIFICATIONS: {
    describe: 'Days that notifications are kept in the inboxes and histories of people; 0 is for ever.',
    default: '365',
    parse: required(wholeNumber(0, 36_500)),
  },
  RETENTION_DAYS_IDEMPOTENCY_KEYS: {
    describe:
      'Days that an Idempotency-Key is known; 0 is for ever. An own id of an event is known as long as the event.',
    default: '7',
    parse: required(wholeNumber(0, 36_500)),
  },
  RETENTION_DAYS_DEAD_LETTERS: {
    describe:
      'Days that dead letters wait for a person; 0 is for ever, and keeps their events. Then they count as failed.',
    default: '90',
    parse: required(wholeNumber(0, 36_500)),
  },
  SHUTDOWN_SECONDS: {
    describe: 'How long work in progress may take to end after SIGTERM.',
    default: '25',
    parse: required(wholeNumber(1, 3600)),
  },
  VAPID_PRIVATE_KEY: {
    describe: 'Private key of browser push (base64url). Generated with an embedded database.',
    secret: true,
    parse: optional(vapidPrivateKey),
  },
  VAPID_PUBLIC_KEY: {
    describe: 'Public key of browser push (base64url), set together with VAPID_PRIVATE_KEY.',
    parse: optional(vapidPublicKey),
  },
  VAPID_EMAIL: {
    describe: 'Mailbox that push services may write to about this server.',
    parse: optional(mailbox),
  },
} as const satisfies Record<string, Setting>

/** Names that the design has and this version has not: set, they must not be silently ignored. */
export const LATER_SETTINGS = [
  'KAFKA_BROKERS',
  'REDIS_URL',
  'AUTH_URL',
  'TELEGRAM_BOT_TOKEN',
  'TELEGRAM_WEBHOOK_SECRET',
] as const

/** The folder of an embedded database, or null when the URL names a server. */
export const embeddedDirectory = (databaseUrl: string): string | null =>
  databaseUrl.startsWith('embedded:') ? databaseUrl.slice('embedded:'.length) : null

/** The public key of a VAPID private key, both base64url (RFC 8292). */
export function vapidPublicKeyOf(privateKey: string): string {
  const ecdh = createECDH('prime256v1')
  ecdh.setPrivateKey(privateKey, 'base64url')
  return ecdh.getPublicKey('base64url')
}

function databaseUrl(text: string): string {
  const directory = embeddedDirectory(text)
  // Not by the URL parser: the host may be left out, where it is the folder of a socket in `?host=`.
  const isServer = /^postgres(ql)?:\/\/[^/?#\s]*\/[^/?#\s]+(\?[^#\s]*)?$/.test(text)
  const isFolder = directory !== null && directory.trim() !== '' && !/\p{Cc}/u.test(directory)
  if (isServer || isFolder) return text
  throw new Error('expected postgres://host:5432/name (user:password and @ before the host), or embedded:./folder')
}

function staticApiKey(text: string): string {
  if (/^sk_[\w-]{32,253}$/.test(text)) return text
  throw new Error('expected keys of sk_ and 32 or more letters, digits, _ and -, separated by commas')
}

function jwtSecret(text: string): string {
  if (text.includes('-----BEGIN')) throw new Error('expected a secret; the keys of an issuer come by JWKS_URL')
  if (Buffer.byteLength(text) >= 32) return text
  throw new Error('expected 32 bytes or more, for example from `openssl rand -base64 48`')
}

function proxies(text: string): number | string[] {
  if (/^\d+$/.test(text)) return wholeNumber(1, 10)(text)
  return listOf(networkAddress)(text)
}

function networkAddress(text: string): string {
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  const areBitsFit = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  if (version !== 0 && areBitsFit && rest.length === 0) return text
  throw new Error('expected a number of proxies from 1 to 10, or IP addresses such as 10.0.0.0/8 separated by commas')
}

function vapidPrivateKey(text: string): string {
  try {
    if (/^[\w-]{43}$/.test(text) && vapidPublicKeyOf(text)) return text
  } catch {
    // Not a number on the curve: told as below.
  }
  throw new Error('expected a P-256 private key, 32 bytes in base64url')
}

function vapidPublicKey(text: string): string {
  const bytes = /^[\w-]{87}$/.test(text) ? Buffer.from(text, 'base64url') : null
  if (bytes?.length === 65 && bytes[0] === 4) return text
  throw new Error('expected a P-256 public key, 65 bytes in base64url')
}

function mailbox(text: string): string {
  const address = parseAddress(text)
  if (address !== null) return address
  throw new Error('expected one e-mail address')
}
