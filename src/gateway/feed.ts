import type { LiveFrame } from '../bus/bus.ts'
import { notificationFrame, updatedFrame } from '../core/frame.ts'
import type { JsonObject } from '../core/json.ts'
import type { Notification } from '../core/notification.ts'
import type { Ports } from '../ports.ts'
import { changesSince, inboxHead, unreadCount } from '../store/notification.ts'
import type { Limits } from './limits.ts'
import { encode, isOpen, type Session, type Writer } from './session.ts'
import type { Users, UserSessions } from './users.ts'

/** Brings every session to the head of its user's inbox, each change in order, whatever the bus loses. */
export type Feed = {
  /** Passes on a frame from the bus; what does not follow on what a session has is read from the database. */
  deliver: (frame: LiveFrame) => void
  /** Greets a session whose user is known and starts its stream at the head of his inbox. */
  join: (session: Session) => Promise<void>
  /** Starts the stream again after a change that the client has, and ends with `resumed` or `reset`. */
  resume: (session: Session, since: number) => void
  /** Reads what the user's sessions miss, unless that is being done. */
  catchUp: (user: UserSessions) => void
}

type Parts = { users: Users; writer: Writer; limits: Limits; onChange: (user: UserSessions) => void }

export function feed({ db, log }: Pick<Ports, 'db' | 'log'>, { users, writer, limits, onChange }: Parts): Feed {
  return { deliver, join, resume, catchUp }

  function deliver({ company_id, user_id, seq, frame }: LiveFrame): void {
    const user = users.find(company_id, user_id)
    if (!user) return
    const bytes = frame && encode(frame)
    for (const session of user.sessions) {
      if (seq === undefined) passBy(session, bytes)
      else pass(session, Number(seq), bytes)
    }
    catchUp(user)
    if (seq !== undefined) onChange(user)
  }

  /** A change of the inbox. */
  function pass(session: Session, seq: number, bytes: Buffer | null): void {
    if (session.state !== 'live') {
      session.target = Math.max(session.target, seq)
      return
    }
    if (seq <= session.cursor) return
    if (!bytes || seq > session.cursor + 1) {
      session.state = 'behind'
      return
    }
    session.cursor = seq
    writer.write(session, bytes)
  }

  /** A frame outside the inbox. Too large for the bus, it may still have changed something that can be read. */
  function passBy(session: Session, bytes: Buffer | null): void {
    if (bytes && (session.state === 'live' || session.state === 'behind')) writer.write(session, bytes)
    if (!bytes && session.state === 'live') session.state = 'behind'
  }

  async function join(session: Session): Promise<void> {
    const { user } = session
    if (!user) return
    const head = await inboxHead(db, user)
    session.unread = await unreadCount(db, user)
    session.cursor = head
    writer.write(session, encode(readyFrame(session, head, limits)))
    // Changes that were announced while the head was being read.
    session.state = session.target > head ? 'behind' : 'live'
    catchUp(user)
  }

  function resume(session: Session, since: number): void {
    session.cursor = since
    if (session.state === 'live') session.state = 'behind'
    if (session.user) catchUp(session.user)
  }

  function catchUp(user: UserSessions): void {
    if (user.isReading || user.retryAt > Date.now() || !someBehind(user)) return
    user.isReading = true
    readAll(user)
      .catch((error: unknown) => {
        user.retryAt = Date.now() + RETRY_MS
        log.warn({ err: error }, 'missed changes could not be read')
      })
      .finally(() => {
        user.isReading = false
      })
  }

  async function readAll(user: UserSessions): Promise<void> {
    while (someBehind(user)) {
      const behind = [...user.sessions].filter(isBehind)
      const since = Math.min(...behind.map(({ cursor }) => cursor))
      for (const session of behind) session.target = 0
      const missed = await changesSince(db, user, since, limits.replayMax)
      for (const session of behind) bringUp(session, since, missed)
      onChange(user)
    }
  }

  function bringUp(session: Session, since: number, { items, head, isComplete }: Missed): void {
    // Gone, lagging since, or asked meanwhile for older changes than were read.
    if (!isBehind(session) || session.cursor < since) return
    // Ahead of the inbox (a restored database), or so far behind that loading the list again costs less.
    if (session.cursor > head || (!isComplete && session.cursor === since)) return reset(session, head)
    if (!isComplete) return // the next reading is for those that miss less

    for (const change of items) {
      if (seqOf(change) <= session.cursor) continue
      session.cursor = seqOf(change)
      writer.write(session, encode(replayFrame(change)))
      if (session.state !== 'behind') return // lagging: the rest when it has read this
    }
    session.cursor = head
    settle(session, { type: 'resumed', data: { seq: head } })
  }

  function reset(session: Session, head: number): void {
    session.cursor = head
    settle(session, { type: 'reset', data: { seq: head } })
  }

  function settle(session: Session, frame: JsonObject): void {
    session.state = session.target > session.cursor ? 'behind' : 'live'
    writer.write(session, encode(frame))
  }
}

type Missed = Awaited<ReturnType<typeof changesSince>>

/** Between two tries while the database is away. */
const RETRY_MS = 1_000

const isBehind = (session: Session): boolean => session.state === 'behind' && isOpen(session)

const someBehind = (user: UserSessions): boolean => [...user.sessions].some(isBehind)

const seqOf = ({ seq }: Notification): number => seq ?? 0

function readyFrame(session: Session, head: number, { heartbeatSeconds }: Limits): JsonObject {
  const data = { session_id: session.id, seq: head, unread_count: session.unread, heartbeat_seconds: heartbeatSeconds }
  return { type: 'ready', data }
}

/** `replayed` tells the client that `seq` may jump here; `resumed` says how far it has come. */
function replayFrame(notification: Notification): JsonObject {
  const isNews = !notification.is_read && !notification.is_archived && notification.snoozed_until === null
  return { ...(isNews ? notificationFrame(notification) : updatedFrame(notification)), replayed: true }
}
