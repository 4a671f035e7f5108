import { hash } from 'node:crypto'
import { invalidField } from './errors.ts'
import type { Event } from './event.ts'
import type { EventType } from './event-type.ts'
import { valueAt } from './value-at.ts'

/** A month. */
export const MAX_DEDUPE_WINDOW_SECONDS = 30 * 86_400
const DEDUPE_WINDOW_SECONDS = 86_400

/** The longest key as it is stored; a longer one is told apart by its hash. */
const MAX_KEY_LENGTH = 255
const HASH_LENGTH = 64

/** The event's own collapse key, else the one that its type derives; null: it replaces nothing. */
export function collapseKeyOf(event: Event, type: EventType): string | null {
  if (event.collapse_key !== undefined) return event.collapse_key
  const value = keyAt(event, type.collapse_path)
  return value === null ? null : shortened(`${event.type}:${value}`)
}

/** Null: it is sent as soon as it can be. */
export const orderingKeyOf = (event: Event, type: EventType): string | null =>
  event.ordering_key ?? keyAt(event, type.ordering_path)

/** Which events are the same fact, and for how long; null: each is its own. */
export type Dedupe = { key: string; window_seconds: number }

export function dedupeOf(event: Event, type: EventType): Dedupe | null {
  const key = event.dedupe_key ?? keyAt(event, type.dedupe_path)
  if (key === null) {
    if (event.dedupe_window_seconds === undefined) return null
    throw invalidField('dedupe_window_seconds', 'needs a dedupe_key')
  }
  return {
    key,
    window_seconds: event.dedupe_window_seconds ?? type.dedupe_window_seconds ?? DEDUPE_WINDOW_SECONDS,
  }
}

/**
 * JSON numbers above 2^53 are read as one of their neighbours, so that events of different facts would have one key, and all
 * but the first be taken for repetitions of it. Throws `invalid` that names the field.
 */
export function checkKeys(event: Event, { collapse_path, ordering_path, dedupe_path }: EventType): void {
  for (const path of [collapse_path, ordering_path, dedupe_path]) {
    const value = path === undefined ? undefined : valueAt(event, path)
    if (path === undefined || typeof value !== 'number' || Math.abs(value) <= Number.MAX_SAFE_INTEGER) continue
    throw invalidField(path, 'is too large a number to be told from its neighbours: send it as text')
  }
}

/** An empty text names nothing: all events without a value would be one. */
function keyAt(event: Event, path: string | undefined): string | null {
  const value = path === undefined ? undefined : valueAt(event, path)
  return (typeof value === 'string' && value !== '') || typeof value === 'number' ? String(value) : null
}

/** One character longer than any key that is kept as it is, so that the two never meet. */
const shortened = (key: string): string =>
  key.length <= MAX_KEY_LENGTH ? key : `${key.slice(0, MAX_KEY_LENGTH - HASH_LENGTH)}#${hash('sha256', key)}`
