import type { Column } from './accept-options.ts'
import type { EventRows, Instant } from './event-rows.ts'

/** A row that belongs to an event, with the event. */
export type Child<Name extends 'notifications' | 'deliveries' | 'traces'> = {
  event: EventRows
  child: EventRows[Name][number]
}

export const EVENT: Column<EventRows>[] = [
  ['id', 'bigint', ({ id }) => id],
  ['event_id', 'text', (event) => event.event_id],
  ['payload', 'json', ({ payload }) => JSON.stringify(payload)],
]

export const EVENT_COMMON: Column<EventRows>[] = [
  ['company_id', 'text', (event) => event.company_id],
  ['type', 'text', ({ type }) => type],
  ['event_type_id', 'bigint', (event) => event.event_type_id],
  ['jobs_count', 'integer', (event) => event.jobs_count],
  ['lane', 'smallint', ({ lane }) => lane],
  ['priority', 'smallint', ({ priority }) => priority],
  ['cancellation_key', 'text', (event) => event.cancellation_key],
]

export const EVENT_COLLAPSE: Column<EventRows> = ['collapse_key', 'text', (event) => event.collapse_key]

export const KEY: Column<{ key: string; event: EventRows }>[] = [
  ['key', 'uuid', ({ key }) => key],
  ['event_id', 'bigint', ({ event }) => event.id],
  ['body_hash', 'bytea', ({ event }) => event.body_hash],
]

export const NOTIFICATION: Column<Child<'notifications'>>[] = [
  ['id', 'bigint', ({ child }) => child.id],
  ['event_id', 'bigint', ({ event }) => event.id],
  ['user_id', 'text', ({ child }) => child.user_id],
  ['level', 'text', ({ child }) => child.level],
  ['is_read', 'boolean', ({ child }) => child.is_read],
  ['collapse_key', 'text', ({ child }) => child.collapse_key],
]

export const DELIVERY: Column<Child<'deliveries'>>[] = [
  ['id', 'bigint', ({ child }) => child.id],
  ['event_id', 'bigint', ({ event }) => event.id],
  ['notification_id', 'bigint', ({ child }) => child.notification_id],
  ['user_id', 'text', ({ child }) => child.user_id],
]

export const DELIVERY_COMMON: Column<Child<'deliveries'>>[] = [
  ['company_id', 'text', ({ event }) => event.company_id],
  ['channel', 'text', ({ child }) => child.channel],
  ['lane', 'smallint', ({ event }) => event.lane],
  ['priority', 'smallint', ({ event }) => event.priority],
]

export const TIMES: Column<Child<'deliveries'>>[] = [
  ['send_after', 'text', ({ child }) => child.send_after],
  ['expires_at', 'text', ({ child }) => child.expires_at],
  ['time_to_live_seconds', 'integer', ({ child }) => child.time_to_live_seconds],
]

export const LEASED: Column<Instant['deliveries'][number]>[] = [
  ['id', 'bigint', ({ id }) => id],
  ['lease_id', 'bigint', ({ leaseId }) => leaseId],
  ['started', 'boolean', ({ isStarted }) => isStarted],
]

export const TRACE: Column<Child<'traces'>>[] = [
  ['event_id', 'bigint', ({ event }) => event.id],
  ['user_id', 'text', ({ child }) => child.user_id],
  ['channel', 'text', ({ child }) => child.channel],
  ['reason', 'text', ({ child }) => child.reason],
]
