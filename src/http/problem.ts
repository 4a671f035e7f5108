import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { AppError, type AppErrorCode, type FieldError } from '../core/errors.ts'

/** An error as the API answers it: RFC 9457, `application/problem+json`. */
export const problemSchema = z
  .object({
    type: z.string().describe('What kind of error this is, for programs: `urn:eventcenter:problem:` and a word.'),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('What went wrong this time, for people.'),
    errors: z
      .array(z.object({ field: z.string(), message: z.string() }))
      .optional()
      .describe('Each field at fault: a path such as `events[3].data.user_id`.'),
    request_id: z.string().describe('Also in the header `X-Request-Id`, and in the log of the server.'),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof problemSchema>

/** The only place that turns the codes of `AppError` into statuses. */
const STATUSES: Record<AppErrorCode, number> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'too-large': 413,
  mismatch: 422,
  'too-many': 429,
  unavailable: 503,
}

const DEFAULT_RETRY_AFTER_SECONDS: Partial<Record<AppErrorCode, number>> = {
  'too-many': 1,
  unavailable: 5,
}

/** Answers an error of any kind. Bugs are logged here, once, and the caller learns nothing of their cause. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const known = asAppError(error)
  if (known) {
    if (known.code === 'unavailable') request.log.warn({ err: known, ...place(request) }, 'unavailable')
    const seconds = known.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_SECONDS[known.code]
    if (seconds !== undefined) reply.header('retry-after', Math.max(1, Math.ceil(seconds)))
    if (known.code === 'unauthorized') reply.header('www-authenticate', 'Bearer realm="eventcenter"')
    send(request, reply, {
      status: STATUSES[known.code],
      word: known.code,
      detail: known.message,
      fields: known.fields,
    })
    return
  }

  const status = statusOf(error)
  if (status < 500) {
    const title = STATUS_CODES[status] ?? 'Bad request'
    const detail = (error as Error).message // of the HTTP framework itself: about the request, never about our insides
    send(request, reply, { status, word: title.toLowerCase().replaceAll(' ', '-'), detail, fields: [] })
    return
  }
  request.log.error({ err: error, ...place(request) }, 'request failed')
  send(request, reply, {
    status: 500,
    word: 'internal',
    detail: 'The server made an error. It has been logged.',
    fields: [],
  })
}

export function sendNotFound(request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(new AppError('not-found', 'There is nothing at this address'), request, reply)
}

type Answer = { status: number; word: string; detail: string; fields: FieldError[] }

function send(request: FastifyRequest, reply: FastifyReply, { status, word, detail, fields }: Answer): void {
  const problem: Problem = {
    type: `urn:eventcenter:problem:${word}`,
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    ...(fields.length > 0 && { errors: fields }),
    request_id: request.id,
  }
  // Serialized here: a route's response schemas describe its own answers only.
  reply.code(status).type('application/problem+json').serializer(String).send(JSON.stringify(problem))
}

const MESSAGES: Record<string, AppErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'too-large',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid',
}

function asAppError(error: unknown): AppError | undefined {
  if (error instanceof AppError) return error
  const code = MESSAGES[(error as FastifyError | undefined)?.code ?? '']
  return code && new AppError(code, (error as Error).message, { cause: error })
}

/** Fastify's own errors carry a status; everything else is a bug, also where some library gave its error a status. */
function statusOf(error: unknown): number {
  const { code, statusCode } = (error ?? {}) as Partial<FastifyError>
  return code?.startsWith('FST_ERR_') && statusCode !== undefined && statusCode >= 400 ? statusCode : 500
}

/** The log of a request names its id by itself. */
const place = (request: FastifyRequest): object => ({
  method: request.method,
  route: request.routeOptions.url,
})
