import pg from 'pg'
import { AppError } from '../core/errors.ts'

/** Two transactions met, and PostgreSQL ended one of them: the same work again will succeed. */
export const isConflict = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && (error.code === '40001' || error.code === '40P01' || isStalePlan(error))

/** A migration changed the tables under a prepared statement: another connection prepares it anew. */
export const isStalePlan = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '0A000' && error.routine === 'RevalidateCachedQuery'

/**
 * `unavailable` when the database is away or overloaded, the error itself when it is about the statement.
 * `isConnectionLost` tells whether the connection broke: errors of sockets and of the pool carry no SQLSTATE.
 */
export function toAppError(error: unknown, isConnectionLost: boolean): unknown {
  if (error instanceof pg.DatabaseError) {
    const found = unavailable.find(([codes]) => codes.test(error.code ?? ''))
    return found ? new AppError('unavailable', found[1], { cause: error, retryAfterSeconds: found[2] }) : error
  }
  return isConnectionLost
    ? new AppError('unavailable', 'The database is away', { cause: error, retryAfterSeconds: 1 })
    : error
}

/** SQLSTATE, what to say, when to come again. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const unavailable: [codes: RegExp, message: string, retryAfterSeconds: number][] = [
  [/^(08...|57P0[1-5]|25P0[34])$/, 'The database is away', 1],
  [/^53100$/, 'The database has no disk space left', 30],
  [/^53[023]00$/, 'The database is overloaded', 2],
  [/^57014$/, 'The database took too long', 2],
  [/^55P03$/, 'The database waited too long for a lock', 1],
]
