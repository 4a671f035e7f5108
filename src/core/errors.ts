export type FieldError = { field: string; message: string }

/** What went wrong, in the words of the caller; `http/problem.ts` alone turns a code into a status. */
export type AppErrorCode =
  | 'invalid' // the request itself is wrong; `fields` says where
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'conflict' // it exists already, or is being worked on at this moment
  | 'mismatch' // an idempotency key came again with another body
  | 'too-large'
  | 'too-many'
  | 'unavailable' // a dependency is away or the queue in front of it is full: try again

type Details = { cause?: unknown; fields?: FieldError[]; retryAfterSeconds?: number | undefined }

/** An error that the caller can act on. Its message is shown to the caller, so it never holds a secret. */
export class AppError extends Error {
  readonly code: AppErrorCode
  readonly fields: FieldError[]
  readonly retryAfterSeconds: number | undefined

  constructor(code: AppErrorCode, message: string, details: Details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'AppError'
    this.code = code
    this.fields = details.fields ?? []
    this.retryAfterSeconds = details.retryAfterSeconds
  }
}

/** A dependency is away: the same may go well a little later. */
export const isUnavailable = (error: unknown): error is AppError =>
  error instanceof AppError && error.code === 'unavailable'

/** All faults in one line. The field '' is the body itself. */
export const inOneLine = (faults: readonly FieldError[]): string =>
  faults.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ')

/** `invalid` that names each fault. */
export const invalidFields = (fields: FieldError[]): AppError => new AppError('invalid', inOneLine(fields), { fields })

/** `invalid` for exactly one field. */
export const invalidField = (field: string, message: string): AppError => invalidFields([{ field, message }])

/**
 * What a failed send means for its delivery:
 * - `retry`: the other side may accept it later;
 * - `reject`: it never will, and the address is not to blame;
 * - `forget-address`: the address is gone;
 * - `uncertain`: the other side may have accepted it, and we cannot know.
 */
export type Verdict = 'retry' | 'reject' | 'forget-address' | 'uncertain'

type DeliveryDetails = { cause?: unknown; retryAfterSeconds?: number; stopsAccount?: boolean }

/**
 * A channel's verdict on one send. The message is kept in the attempts log: no secrets, no addresses. `stopsAccount`, with
 * `retry`: the provider takes nothing from us until then, whatever it is; this message was only the one that met it.
 */
export class DeliveryError extends Error {
  readonly verdict: Verdict
  readonly retryAfterSeconds: number | undefined
  readonly stopsAccount: boolean

  constructor(verdict: Verdict, message: string, details: DeliveryDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'DeliveryError'
    this.verdict = verdict
    this.retryAfterSeconds = details.retryAfterSeconds
    this.stopsAccount = details.stopsAccount ?? false
  }
}
