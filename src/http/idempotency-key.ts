import type { FastifyRequest } from 'fastify'
import { invalidField } from '../core/errors.ts'

/** RFC draft-ietf-httpapi-idempotency-key-header; printable ASCII, so that it means the same everywhere. */
export function idempotencyKeyOf(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key
  throw invalidField('Idempotency-Key', 'expected 1 to 255 printable ASCII characters without spaces')
}
