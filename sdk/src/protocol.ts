/** The words of the WebSocket, as docs/websocket.md describes them. Members may be added; unknown ones are ignored. */

export type Level = 'info' | 'warning' | 'error' | 'critical'

/** One event as its user sees it. Times are RFC 3339 UTC. */
export type Notification = {
  id: string
  type: string
  title: string
  message: string
  event_id: string
  level: Level
  cta: { label: string; url: string } | null
  data: Readonly<Record<string, unknown>>
  /** Its last change in the inbox, a growing number; null in the history only. */
  seq: number | null
  is_read: boolean
  is_seen: boolean
  is_archived: boolean
  snoozed_until: string | null
  created_at: string
}

export type ServerFrame =
  | { type: 'ready'; data: { session_id: string; seq: number; unread_count: number; heartbeat_seconds: number } }
  | { type: 'notification' | 'notification_updated'; replayed?: boolean; data: { notification: Notification } }
  | { type: 'unread_count'; data: { count: number } }
  /** Everything up to `seq` was sent. */
  | { type: 'resumed'; data: { seq: number } }
  /** Too much was missed: load the list anew, it is complete up to `seq`. */
  | { type: 'reset'; data: { seq: number } }
  | { type: 'authenticated'; data: { expires_at: string } }
  /** Connect anew after this time; the server goes away. */
  | { type: 'drain'; data: { after_ms: number } }
  | { type: 'error'; data: { code: string; id?: string } }
  | { type: 'pong' }

export type ClientFrame =
  | { type: 'auth'; token: string }
  | { type: 'resume'; since: number }
  | { type: 'ack'; seq: number }
  | { type: 'read'; id: string }
  | { type: 'ping' }

/** Why the server closed the socket. */
export const CLOSE_CODES = {
  restart: 1012,
  tryLater: 1013,
  slow: 4002,
  silent: 4003,
  rate: 4008,
  internal: 4009,
  tokenExpired: 4010,
  protocol: 4500,
  unauthorized: 4501,
  replaced: 4504,
  authTimeout: 4505,
} as const

/** Whether the same client would only be refused again: 45xx, and a message that was too big. */
export const isFinal = (code: number): boolean => (code >= 4500 && code < 4600) || code === 1009
