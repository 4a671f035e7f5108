import type { Lane, Level, Priority } from './event.ts'
import type { JsonObject } from './json.ts'

/**
 * Who must know. A path names a member of the event (`user_id`, `data.user_id`, `data.user_ids`) that holds one user id
 * or a list of them.
 */
export type RecipientsRule = { path: string; include_initiator?: boolean }

/** What a registered event type says, as the API and `catalog/` write it. */
export type EventTypeDefinition = {
  type: string
  description?: string
  /** JSON Schema (draft 2020-12 or 07) of `data` (`payload` in the domain form). */
  schema?: JsonObject
  recipients: RecipientsRule
  /** Default channels. One that is not installed is left out, and the trace says so. */
  channels: string[]
  /** Channels that an event may ask for; absent: all. An event that asks for another is refused. */
  allowed_channels?: string[]
  /** `template_code` of its templates; the type's own name unless said otherwise. */
  template_code?: string
  level?: Level
  lane?: Exclude<Lane, 'retry'>
  priority?: Priority
  category?: string
  /** Liquid-free path whose value makes later events replace the earlier notification, e.g. `data.job_id`. */
  collapse_path?: string
  /** Path whose value is the dedupe key of events that have none of their own. */
  dedupe_path?: string
  dedupe_window_seconds?: number
  /** Path whose value is the ordering key of events that have none of their own. */
  ordering_path?: string
  /** Shown in the inbox without counting as unread, e.g. progress. */
  is_silent?: boolean
  /** Deliveries not sent within this time expire. */
  time_to_live_seconds?: number
}

/** A stored, immutable version of a definition. */
export type EventType = EventTypeDefinition & { id: string; company_id: string; version: number }

/** The registered types. Kept in memory; a type unknown here is looked up once more before it is called unknown. */
export type EventTypes = {
  /** What `find` would answer without asking anybody; undefined when it would ask. */
  known(companyId: string, type: string): EventType | undefined
  /** The company's own definition, else the platform's; null when there is none. */
  find(companyId: string, type: string): Promise<EventType | null>
  /** One stored version, also when it is no longer current. */
  version(id: string): Promise<EventType | null>
  /** A type was registered, changed or deleted through this process: it counts at once. */
  changed(): void
}
