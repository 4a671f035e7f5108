import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Ports } from '../ports.ts'
import { inboxHeads } from '../store/inbox-heads.ts'
import type { Feed } from './feed.ts'
import type { Limits } from './limits.ts'
import { closeSession, type Session } from './session.ts'
import type { Users, UserSessions } from './users.ts'

/** How much is done before other work gets its turn: 20,000 sessions at once would stop the process for 0.3 s. */
export const SLICE = 500

/** Calls `work` for slices of `items`, with a turn for everything else in between. */
export async function inSlices<Item>(
  items: readonly Item[],
  work: (slice: Item[]) => void | Promise<void>,
): Promise<void> {
  for (let index = 0; index < items.length; index += SLICE) {
    await work(items.slice(index, index + SLICE))
    await nextTurn()
  }
}

/** Pings everybody, ends those who did not answer the last ping. */
export async function heartbeat(sessions: Iterable<Session>): Promise<void> {
  await inSlices([...sessions], (slice) => {
    for (const session of slice) {
      // A lagging client has other reasons not to answer, and its own deadline.
      if (!session.isAlive && session.state !== 'lagging') closeSession(session, 'silent', 'No answer to a ping')
      session.isAlive = false
      if (session.socket.readyState === session.socket.OPEN) session.socket.ping()
    }
  })
}

/** Finds sessions that missed a change because the bus lost its frame, and has it read. */
export async function compareHeads(
  { db, log }: Pick<Ports, 'db' | 'log'>,
  users: Users,
  feed: Pick<Feed, 'catchUp'>,
): Promise<void> {
  try {
    await inSlices([...users.all()], async (slice) => {
      const heads = await inboxHeads(db, slice)
      for (const [index, user] of slice.entries()) catchUpTo(user, heads[index] ?? 0, feed)
    })
  } catch (error) {
    log.warn({ err: error }, 'heads of inboxes could not be read')
  }
}

/** What time does to sessions: missing tokens, ended tokens, clients that lag too long, readings to repeat. */
export function checkTimes(
  sessions: Iterable<Session>,
  limits: Limits,
  feed: Pick<Feed, 'catchUp'>,
  nowMs: number,
): void {
  for (const session of sessions) {
    if (!session.user && !session.isAuthenticating && nowMs - session.openedAt > limits.authSeconds * 1000) {
      closeSession(session, session.refusal ?? 'authTimeout', 'No valid token came in time')
    }
    if (nowMs > session.expiresAt + limits.tokenGraceSeconds * 1000) {
      closeSession(session, 'tokenExpired', 'The token has expired')
    }
    if (session.state === 'lagging' && nowMs - session.laggingSince > limits.lagSeconds * 1000) {
      closeSession(session, 'slow', 'Read faster')
    }
    if (session.state === 'behind' && session.user) feed.catchUp(session.user)
  }
}

function catchUpTo(user: UserSessions, head: number, feed: Pick<Feed, 'catchUp'>): void {
  for (const session of user.sessions) {
    if (session.state === 'live' && session.cursor !== head) session.state = 'behind'
  }
  feed.catchUp(user)
}
