import type { Session } from './session.ts'

/** The live sessions of one user at this gateway, oldest first. */
export type UserSessions = {
  readonly companyId: string
  readonly userId: string
  readonly sessions: Set<Session>
  /** Somebody is reading what they missed. */
  isReading: boolean
  /** No reading before this time (ms): the database was away. */
  retryAt: number
  /** The unread count is being told, or was just now. */
  isCounting: boolean
  /** The count may have changed since it was read. */
  isCountOld: boolean
}

/** Who is connected here. */
export type Users = {
  join: (companyId: string, userId: string, session: Session) => UserSessions
  leave: (session: Session) => void
  find: (companyId: string, userId: string) => UserSessions | undefined
  all: () => IterableIterator<UserSessions>
  count: () => number
}

export function users(): Users {
  const byKey = new Map<string, UserSessions>()

  return {
    join(companyId, userId, session) {
      const key = keyOf(companyId, userId)
      const user = byKey.get(key) ?? newUser(companyId, userId)
      byKey.set(key, user)
      user.sessions.add(session)
      session.user = user
      return user
    },

    leave(session) {
      const { user } = session
      if (!user?.sessions.delete(session) || user.sessions.size > 0) return
      byKey.delete(keyOf(user.companyId, user.userId))
    },

    find: (companyId, userId) => byKey.get(keyOf(companyId, userId)),
    all: () => byKey.values(),
    count: () => byKey.size,
  }
}

/** Ids are any text, but a zero byte is in none: PostgreSQL would not keep it. */
const keyOf = (companyId: string, userId: string): string => `${companyId}\0${userId}`

const newUser = (companyId: string, userId: string): UserSessions => ({
  companyId,
  userId,
  sessions: new Set(),
  isReading: false,
  retryAt: 0,
  isCounting: false,
  isCountOld: false,
})
