import type { JsonObject } from './json.ts'

export const LEVELS = ['info', 'warning', 'error', 'critical'] as const
export type Level = (typeof LEVELS)[number]

/** The one thing that the person is invited to do; `url` has passed `safeUrl`. */
export type Cta = { label: string; url: string }

/** Who caused the event. Comes from the body, or from trusted headers. */
export type InitiatedBy = { user_id: string; role?: string; channel?: string }

/**
 * An event as it is stored, whichever form it came in. The same object is kept in the history, sent over WebSocket
 * and given to templates, so its members are named as in the public contract. Times are RFC 3339 UTC.
 */
export type Event = {
  /** The producer's own id. Absent: the stored event's id is made from its row. */
  id?: string
  type: string
  source?: string
  /** The universal form names its one recipient; the other forms leave it to the event type's rule. */
  user_id?: string
  title?: string
  body?: string
  level?: Level
  /** Overrides the default channels of the event type. */
  channels?: string[]
  cta?: Cta
  data: JsonObject
  occurred_at?: string
  send_after?: string
  expires_at?: string
  collapse_key?: string
  cancellation_key?: string
  /** Names the business fact: within the window no second event of the type and this key is sent. */
  dedupe_key?: string
  dedupe_window_seconds?: number
  /** To one person over one channel, events of the key are sent one after another, in the order in which they came. */
  ordering_key?: string
  initiated_by?: InitiatedBy
}

/** How a lane treats its deliveries: `p2p` at once, `broadcast` throttled; `retry` keeps second attempts apart. */
export const LANES = { p2p: 0, broadcast: 1, retry: 2 } as const
export type Lane = keyof typeof LANES
export const LANE_NAMES = Object.keys(LANES) as Lane[]

/** The name of a lane's number; that of one which is not there is a bug. */
export function laneOf(number: number): Lane {
  const lane = LANE_NAMES.find((name) => LANES[name] === number)
  if (lane === undefined) throw new Error(`no lane has the number ${number}`)
  return lane
}

/** Within a lane the lower number goes first. */
export const PRIORITIES = { high: 0, normal: 1, low: 2 } as const
export type Priority = keyof typeof PRIORITIES
