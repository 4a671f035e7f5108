import { randomUUID } from 'node:crypto'
import type { WebSocket } from 'ws'
import type { JsonObject } from '../core/json.ts'
import type { Metrics } from '../metrics.ts'
import { CLOSE, type CloseReason } from './close-codes.ts'
import type { Limits } from './limits.ts'
import { fullRate, type Rate } from './rate.ts'
import type { UserSessions } from './users.ts'

/**
 * Where a session is between two facts: what its client was sent, and what is in the inbox.
 * - `new`: nobody yet; `joining`: the user is known and his inbox is being read;
 * - `live`: has everything, so the next change can be passed on as it comes;
 * - `behind`: missed something, which will be read from the database;
 * - `lagging`: the client does not read fast enough, so nothing more is written until it has.
 */
export type SessionState = 'new' | 'joining' | 'live' | 'behind' | 'lagging'

/** One socket. */
export type Session = {
  readonly id: string
  readonly socket: WebSocket
  /** Where it connects from, for the limit per address. */
  readonly address: string
  readonly openedAt: number
  readonly rate: Rate
  state: SessionState
  user: UserSessions | null
  /** The last inbox change that the client was sent, all earlier ones included. */
  cursor: number
  /** The last inbox change heard of while it could not be sent. */
  target: number
  /** The last change that the client said it has shown. */
  acked: number
  /** The unread count that the client was told last. */
  unread: number
  laggingSince: number
  /** Something was heard since the last ping. */
  isAlive: boolean
  /** When the token ends, in ms since 1970. */
  expiresAt: number
  /** Its token is being checked or its inbox is being read; frames wait in `waiting`. */
  isAuthenticating: boolean
  waiting: string[]
  /** Why a cookie did not count, told when nothing better comes. */
  refusal: CloseReason | null
}

/** A frame as it is written: made once for all sessions of a user. */
export const encode = (frame: JsonObject): Buffer => Buffer.from(JSON.stringify(frame))

export const session = (socket: WebSocket, address: string, limits: Limits, nowMs: number): Session => ({
  id: randomUUID(),
  socket,
  address,
  openedAt: nowMs,
  rate: fullRate(limits.framesBurst, nowMs),
  state: 'new',
  user: null,
  cursor: 0,
  target: 0,
  acked: 0,
  unread: -1,
  laggingSince: 0,
  isAlive: true,
  expiresAt: Infinity,
  isAuthenticating: false,
  waiting: [],
  refusal: null,
})

export const isOpen = ({ socket }: Session): boolean => socket.readyState === socket.OPEN

export function closeSession({ socket }: Session, reason: CloseReason, words: string): void {
  socket.close(CLOSE[reason], words)
}

export type Writer = {
  /** Writes one frame. Afterwards the session may be `lagging`, or closing when it holds far too much. */
  write: (session: Session, bytes: Buffer) => void
}

/**
 * Writes to sockets with a bound on what may wait in our memory. The inbox is in the database, so a client that reads
 * slowly loses nothing: writing stops, and what it missed is read again when `onDrained` says that it caught up.
 */
export function writer(
  metrics: Pick<Metrics, 'framesSent'>,
  limits: Limits,
  onDrained: (session: Session) => void,
): Writer {
  return {
    write(session, bytes) {
      const { socket } = session
      if (socket.readyState !== socket.OPEN) return
      socket.send(bytes, AS_TEXT)
      metrics.framesSent.inc()

      if (socket.bufferedAmount > limits.bufferMaxBytes) return closeSession(session, 'slow', 'Read faster')
      if (socket.bufferedAmount <= limits.bufferHighBytes || session.state === 'lagging') return
      session.state = 'lagging'
      session.laggingSince = Date.now()
      // A ping behind all that waits: when it is written, so is the rest.
      socket.ping(undefined, undefined, (error: Error | null | undefined) => {
        if (!error && session.state === 'lagging') onDrained(session)
      })
    },
  }
}

const AS_TEXT = { binary: false }
