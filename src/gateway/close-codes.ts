/**
 * Why the gateway closes a socket. 45xx is final: the same client would be refused again. After every other code the
 * client reconnects with its last `seq`. Each code is described for clients in docs/websocket.md.
 */
export const CLOSE = {
  /** The server restarts or goes away. */
  restart: 1012,
  /** Something behind the gateway is away. */
  tryLater: 1013,
  /** The client does not read what it is sent. */
  slow: 4002,
  /** The client did not answer a ping. */
  silent: 4003,
  /** Too many frames from the client. */
  rate: 4008,
  internal: 4009,
  /** The token is over; a new one continues. */
  tokenExpired: 4010,
  /** What the client sent is not of this protocol. */
  protocol: 4500,
  unauthorized: 4501,
  /** The user opened more sessions than he may have; the oldest goes. */
  replaced: 4504,
  /** No token came in time. */
  authTimeout: 4505,
} as const
export type CloseReason = keyof typeof CLOSE
