import { pino, type DestinationStream, type Logger } from 'pino'
import { mask } from './core/mask.ts'

/**
 * The log of this process: JSON lines on stdout. What goes in is fields with known names; on top of that, fields that
 * may hold secrets or personal data are cut out, requests are logged without query (`?token=`), headers and body, and
 * each finished line is masked.
 */
export const logger = (level: string, stream: DestinationStream = pino.destination(1)): Logger =>
  pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
      serializers: { req: request, request, res: response, response, err: problem, error: problem },
      hooks: { streamWrite: mask },
    },
    stream,
  )

/** Fields that are cut out wherever they stand, one object deep at most. */
const SECRET_FIELDS = [
  'authorization',
  'cookie',
  'headers',
  'token',
  'password',
  'secret',
  'key',
  'apiKey',
  'email',
  'to',
  'from',
  'envelope',
  'address',
  'subject',
  'title',
  'body',
  'text',
  'html',
  'payload',
  'data',
  'query',
]

type Serialized = Record<string, unknown>

function request(value: unknown): Serialized {
  const { method, url, id } = fieldsOf(value)
  return { id, method, path: typeof url === 'string' ? url.split(/[?#;]/, 1)[0] : undefined }
}

const response = (value: unknown): Serialized => ({ statusCode: fieldsOf(value)['statusCode'] })

/** Drivers put rows and addresses into their errors' fields (`detail`, `response`, …): only these are kept. */
function problem(value: unknown, depth = 0): unknown {
  if (!(value instanceof Error)) return typeof value === 'string' ? value : undefined
  const { code, verdict } = fieldsOf(value)
  const cause = value.cause !== undefined && depth < 5 ? { cause: problem(value.cause, depth + 1) } : {}
  return { type: value.name, message: value.message, code, verdict, stack: value.stack, ...cause }
}

const fieldsOf = (value: unknown): Serialized =>
  typeof value === 'object' && value !== null ? { ...pickable(value) } : {}

/** The members that the serializers read; most stand on prototypes, where a spread would miss them. */
const pickable = (value: object): Serialized =>
  Object.fromEntries(
    ['method', 'url', 'id', 'statusCode', 'code', 'verdict'].map((name) => [name, Reflect.get(value, name)]),
  )
