/** What one client may cost. Numbers in seconds unless they say otherwise; tests shorten them. */
export type Limits = {
  heartbeatSeconds: number
  /** Time for the first frame to bring a token. */
  authSeconds: number
  /** How long a session outlives its token, so that clocks may differ. */
  tokenGraceSeconds: number
  /** Unsent bytes of one socket: beyond, nothing more is written to it for now. */
  bufferHighBytes: number
  /** Unsent bytes that end the session at once. */
  bufferMaxBytes: number
  /** How long a client may stay behind `bufferHighBytes`. */
  lagSeconds: number
  payloadBytes: number
  framesPerSecond: number
  framesBurst: number
  sessionsPerUser: number
  sessionsPerAddress: number
  /** Missed changes that are still sent one by one; a client that missed more reloads. */
  replayMax: number
  /** At least this long between two unread counts to one user. */
  countMs: number
  /** How often expiry, deadlines and lag are looked at. */
  tickMs: number
}

export const LIMITS: Limits = {
  heartbeatSeconds: 30,
  authSeconds: 5,
  tokenGraceSeconds: 10,
  bufferHighBytes: 64 * 1024,
  bufferMaxBytes: 256 * 1024,
  lagSeconds: 10,
  payloadBytes: 16 * 1024,
  framesPerSecond: 20,
  framesBurst: 40,
  sessionsPerUser: 20,
  sessionsPerAddress: 100,
  replayMax: 500,
  countMs: 50,
  tickMs: 250,
}
