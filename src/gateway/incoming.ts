import type { RawData } from 'ws'
import { AppError } from '../core/errors.ts'
import { idOfUuid } from '../core/id.ts'
import type { JsonObject } from '../core/json.ts'
import { changeInbox } from '../pipeline/change-inbox.ts'
import type { Ports } from '../ports.ts'
import { parseClientFrame, type ClientFrame } from './client-frame.ts'
import type { Credentials } from './credentials.ts'
import type { Feed } from './feed.ts'
import type { Limits } from './limits.ts'
import { take } from './rate.ts'
import { closeSession, encode, isOpen, type Session, type Writer } from './session.ts'
import type { UserSessions } from './users.ts'

type Parts = {
  authenticate: (session: Session, credentials: Credentials | { token: string; from: 'frame' }) => Promise<void>
  feed: Feed
  writer: Writer
  limits: Limits
}

export type Incoming = {
  message: (session: Session, data: RawData, isBinary: boolean) => void
  /** Counts a control frame of the client. */
  control: (session: Session) => void
  /** Checks the token that came with the upgrade. */
  present: (session: Session, credentials: Credentials) => void
}

/** What clients send: each frame is counted, read and acted on, in order. */
export function incoming(ports: Pick<Ports, 'db' | 'bus' | 'log'>, parts: Parts): Incoming {
  const { authenticate, feed, writer, limits } = parts

  return {
    message(session, data, isBinary) {
      if (!isOpen(session) || !isWithinRate(session)) return
      if (isBinary) return closeSession(session, 'protocol', 'Frames are JSON text')
      // With the default binaryType `ws` hands over one Buffer.
      receive(session, (data as Buffer).toString())
    },

    control(session) {
      isWithinRate(session)
    },

    present(session, credentials) {
      identify(session, credentials)
    },
  }

  function isWithinRate(session: Session): boolean {
    session.isAlive = true
    if (take(session.rate, limits.framesPerSecond, limits.framesBurst, Date.now())) return true
    closeSession(session, 'rate', `At most ${limits.framesPerSecond} frames a second`)
    return false
  }

  function receive(session: Session, text: string): void {
    if (session.isAuthenticating) {
      session.waiting.push(text) // the rate bounds how many
      return
    }
    const frame = parseClientFrame(text)
    if (frame === 'not-a-frame') return closeSession(session, 'protocol', 'Frames are JSON objects with a `type`')
    if (frame === 'unknown' || frame === 'invalid') return answerError(session, frame)
    if (frame.type === 'auth') return identify(session, { token: frame.token, from: 'frame' })
    if (!session.user) return closeSession(session, 'protocol', 'The first frame must be `auth`')
    act(session, session.user, frame)
  }

  function identify(session: Session, credentials: Credentials | { token: string; from: 'frame' }): void {
    session.isAuthenticating = true
    void authenticate(session, credentials).finally(() => {
      session.isAuthenticating = false
      const texts = session.waiting
      session.waiting = []
      for (const text of texts) if (isOpen(session)) receive(session, text)
    })
  }

  function act(session: Session, user: UserSessions, frame: Exclude<ClientFrame, { type: 'auth' }>): void {
    switch (frame.type) {
      case 'ping':
        return writer.write(session, PONG)
      case 'resume':
        return feed.resume(session, frame.since)
      case 'ack':
        session.acked = Math.max(session.acked, frame.seq)
        return
      case 'read':
        void read(session, user, frame.id)
    }
  }

  async function read(session: Session, user: UserSessions, id: string): Promise<void> {
    const rowId = idOfUuid(id)
    try {
      const found = rowId !== null && (await changeInbox(ports, user, rowId, { change: 'read' }))
      if (!found) answerError(session, 'not-found', { id: id.slice(0, ID_LENGTH_MAX) })
    } catch (error) {
      if (!(error instanceof AppError)) ports.log.error({ err: error }, 'a read notification could not be recorded')
      answerError(session, error instanceof AppError ? error.code : 'internal', { id })
    }
  }

  function answerError(session: Session, code: string, more: JsonObject = {}): void {
    writer.write(session, encode({ type: 'error', data: { code, ...more } }))
  }
}

/** Of an id that is given back. */
const ID_LENGTH_MAX = 100

const PONG = encode({ type: 'pong' })
