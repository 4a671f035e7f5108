import { AppError } from '../core/errors.ts'
import type { Ports } from '../ports.ts'
import type { CloseReason } from './close-codes.ts'
import type { Credentials } from './credentials.ts'
import type { Feed } from './feed.ts'
import type { Limits } from './limits.ts'
import { closeSession, encode, isOpen, type Session, type Writer } from './session.ts'
import type { Users } from './users.ts'

/** What a valid token says. */
export type Bearer = { userId: string; companyId: string; expiresAt: Date }

/** Rejects with `unauthorized`, or with `unavailable` when the token cannot be judged now. */
export type VerifyToken = (token: string) => Promise<Bearer>

type Parts = { verify: VerifyToken; users: Users; feed: Feed; writer: Writer; limits: Limits }

/** Gives a session its user: by the token of the upgrade, of the first frame, or a new one of the same user later. */
export function admission(
  { log }: Pick<Ports, 'log'>,
  { verify, users, feed, writer, limits }: Parts,
): (session: Session, credentials: Credentials | { token: string; from: 'frame' }) => Promise<void> {
  return async (session, { token, from }) => {
    try {
      const bearer = await verify(token)
      if (!isOpen(session)) return
      if (session.user) prolong(session, bearer)
      else await admit(session, bearer)
    } catch (error) {
      const reason = reasonOf(error, token)
      if (reason === 'internal') log.error({ err: error }, 'a session could not be opened')
      // An old cookie of the same host must not lock out a page that brings its own token.
      if (from === 'cookie' && reason !== 'tryLater' && reason !== 'internal') session.refusal = reason
      else closeSession(session, reason, WORDS[reason] ?? '')
    }
  }

  async function admit(session: Session, { companyId, userId, expiresAt }: Bearer): Promise<void> {
    session.expiresAt = expiresAt.getTime()
    session.state = 'joining'
    // Among the user's sessions first, so that nothing that happens from now on can pass by unseen.
    const user = users.join(companyId, userId, session)
    const [oldest] = user.sessions
    if (user.sessions.size > limits.sessionsPerUser && oldest) {
      closeSession(oldest, 'replaced', `At most ${limits.sessionsPerUser} sessions per user`)
      users.leave(oldest)
    }
    await feed.join(session)
  }

  function prolong(session: Session, { companyId, userId, expiresAt }: Bearer): void {
    if (session.user?.companyId !== companyId || session.user.userId !== userId) {
      return closeSession(session, 'unauthorized', 'The token belongs to somebody else')
    }
    session.expiresAt = expiresAt.getTime()
    writer.write(session, encode({ type: 'authenticated', data: { expires_at: expiresAt.toISOString() } }))
  }
}

const WORDS: Partial<Record<CloseReason, string>> = {
  unauthorized: 'The token is not valid',
  tokenExpired: 'The token has expired',
  tryLater: 'Try again later',
  internal: 'Something went wrong here',
}

function reasonOf(error: unknown, token: string): CloseReason {
  if (!(error instanceof AppError)) return 'internal'
  if (error.code === 'unavailable') return 'tryLater'
  return isOver(token) ? 'tokenExpired' : 'unauthorized'
}

/** Only to tell the bearer of a refused token whether a new one would help; nothing is believed here. */
function isOver(token: string): boolean {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: unknown }
    return typeof claims.exp === 'number' && claims.exp * 1000 < Date.now()
  } catch {
    return false
  }
}
