import type { Cta, Level } from './event.ts'
import type { JsonObject } from './json.ts'

/** One event as one person sees it: a row of the inbox or of the history. Times are RFC 3339 UTC. */
export type Notification = {
  /** Public uuid. */
  id: string
  type: string
  title: string
  message: string
  event_id: string
  level: Level
  cta: Cta | null
  data: JsonObject
  /** Its last change in the user's inbox, a growing number; null in the history only. */
  seq: number | null
  is_read: boolean
  is_seen: boolean
  is_archived: boolean
  snoozed_until: string | null
  created_at: string
}
