import { setTimeout as sleep } from 'node:timers/promises'
import type { Ports } from '../ports.ts'
import { unreadCount } from '../store/notification.ts'
import type { Limits } from './limits.ts'
import { encode, type Writer } from './session.ts'
import type { UserSessions } from './users.ts'

/** Tells a user's sessions his unread count after a change: the first at once, the next ones together. */
export function unreadCounts(
  { db, log }: Pick<Ports, 'db' | 'log'>,
  writer: Writer,
  { countMs }: Limits,
): (user: UserSessions) => void {
  return changed

  function changed(user: UserSessions): void {
    user.isCountOld = true
    if (!user.isCounting) void keepTelling(user)
  }

  /** One count at a time, so that an earlier one never comes after a later one. */
  async function keepTelling(user: UserSessions): Promise<void> {
    user.isCounting = true
    while (user.isCountOld && user.sessions.size > 0) {
      user.isCountOld = false
      await tell(user).catch((error: unknown) => log.warn({ err: error }, 'the unread count could not be read'))
      await sleep(countMs)
    }
    user.isCounting = false
  }

  async function tell(user: UserSessions): Promise<void> {
    const count = await unreadCount(db, user)
    const bytes = encode({ type: 'unread_count', data: { count } })
    for (const session of user.sessions) {
      if ((session.state !== 'live' && session.state !== 'behind') || session.unread === count) continue
      session.unread = count
      writer.write(session, bytes)
    }
  }
}
