import { invalidField, type AppError } from './errors.ts'
import type { Cta, Event, Level } from './event.ts'
import { LANES, PRIORITIES } from './event.ts'
import { checkKeys, collapseKeyOf, dedupeOf, orderingKeyOf, type Dedupe } from './event-options.ts'
import type { EventType } from './event-type.ts'
import type { Json, JsonObject } from './json.ts'
import { valueAt } from './value-at.ts'

/** Planned in the accepting transaction, so that the answer can count the jobs. */
export const MAX_NAMED_RECIPIENTS = 1000

/** What planning needs to know of an installed channel. */
export type PlannableChannel = { name: string; isInbox: boolean }

/** A notification that takes its place in the inbox as the event is accepted. */
export type PlannedNotification = {
  user_id: string
  type: string
  level: Level
  /** Does not count as unread. */
  is_read: boolean
  title: string | null
  body: string | null
  cta: Cta | null
  data: JsonObject
  collapse_key: string | null
}

/** Somebody, or one channel, was left out. `user_id` null: it concerns every recipient. */
export type PlannedTrace = { user_id: string | null; channel: string | null; reason: string }

/** Every one of `userIds` is told over every one of `channels`. */
export type Plan = {
  lane: number
  priority: number
  collapse_key: string | null
  dedupe: Dedupe | null
  ordering_key: string | null
  userIds: string[]
  channels: PlannableChannel[]
  /** Their notifications take their places in the inbox as the event is accepted. */
  isShown: boolean
  traces: PlannedTrace[]
}

/**
 * Decides who is told and over which channels. Pure: the same event, type, channels and time give the same plan.
 * Throws `AppError('invalid')` naming the field when the event asks for what cannot be.
 */
export function plan(event: Event, type: EventType, installed: ReadonlyMap<string, PlannableChannel>, now: Date): Plan {
  checkKeys(event, type)
  const traces: PlannedTrace[] = []
  const channels = chooseChannels(event, type, installed, traces)
  const userIds = chooseRecipients(event, type, traces)
  const isDeferred = event.send_after !== undefined && new Date(event.send_after) > now

  return {
    lane: LANES[type.lane ?? 'p2p'],
    priority: PRIORITIES[type.priority ?? (event.level === 'critical' ? 'high' : 'normal')],
    collapse_key: collapseKeyOf(event, type),
    dedupe: dedupeOf(event, type),
    ordering_key: orderingKeyOf(event, type),
    userIds,
    channels,
    // The others are written when they are shown: what waits for its time, and what a template has yet to say to each.
    isShown: event.title !== undefined && !isDeferred && channels.some(({ isInbox }) => isInbox),
    traces,
  }
}

function chooseChannels(
  event: Event,
  type: EventType,
  installed: ReadonlyMap<string, PlannableChannel>,
  traces: PlannedTrace[],
): PlannableChannel[] {
  const chosen: PlannableChannel[] = []
  for (const name of new Set(event.channels ?? type.channels)) {
    const channel = installed.get(name)
    if (event.channels) {
      const field = `channels[${event.channels.indexOf(name)}]`
      if (!channel) throw invalidField(field, `unknown channel "${name}"; known: ${[...installed.keys()].join(', ')}`)
      if (type.allowed_channels && !type.allowed_channels.includes(name)) {
        throw invalidField(
          field,
          `"${type.type}" is never sent over "${name}"; allowed: ${type.allowed_channels.join(', ')}`,
        )
      }
    }
    if (channel) chosen.push(channel)
    else traces.push({ user_id: null, channel: name, reason: 'channel_not_installed' })
  }
  return chosen
}

function chooseRecipients(event: Event, type: EventType, traces: PlannedTrace[]): string[] {
  const { path, include_initiator: includeInitiator } = type.recipients
  // Forms without a place for the one recipient of such a type name him in their data.
  const field = event.user_id === undefined ? (path === 'user_id' ? 'data.user_id' : path) : 'user_id'
  const named = event.user_id ?? valueAt(event, field)
  if (named === undefined || named === null) throw invalidField(field, 'required: it says who is told')

  const values = Array.isArray(named) ? named : [named]
  const wrong = values.findIndex((value) => !isUserId(value))
  if (wrong !== -1) {
    throw invalidField(
      Array.isArray(named) ? `${field}[${wrong}]` : field,
      'expected a user id: text of 1 to 200 characters, or a number',
    )
  }
  const userIds = new Set(values.map(String))
  if (userIds.size > MAX_NAMED_RECIPIENTS) {
    throw invalidField(field, `at most ${MAX_NAMED_RECIPIENTS} recipients in one event, got ${userIds.size}`)
  }

  const initiator = event.initiated_by?.user_id
  // The universal form names its recipient on purpose; a rule must not tell people what they did themselves.
  if (initiator !== undefined && event.user_id === undefined && !includeInitiator && userIds.delete(initiator)) {
    traces.push({ user_id: initiator, channel: null, reason: 'initiator' })
  }
  return [...userIds]
}

const isUserId = (value: Json): boolean =>
  (typeof value === 'string' && value.length > 0 && value.length <= 200) ||
  (typeof value === 'number' && Number.isSafeInteger(value))

/** The event as one person sees it in the inbox. */
export const notificationFor = (userId: string, event: Event, type: EventType): PlannedNotification => ({
  user_id: userId,
  type: event.type,
  level: event.level ?? type.level ?? 'info',
  is_read: type.is_silent === true,
  title: event.title ?? null,
  body: event.body ?? null,
  cta: event.cta ?? null,
  data: event.data,
  collapse_key: collapseKeyOf(event, type),
})

/** An unknown type, in the words of the caller; `field` is `type` or `event_type`, by the form. */
export const unknownType = (field: string, type: string): AppError =>
  invalidField(field, `unknown event type "${type}"; register it with POST /api/v1/event-types`)
