import type { Event } from './event.ts'
import type { Json } from './json.ts'

/** The value at a dotted path of the event, own members only. */
export function valueAt(event: Event, path: string): Json | undefined {
  let value = event as unknown as Json | undefined
  for (const name of path.split('.')) {
    if (value === null || typeof value !== 'object' || Array.isArray(value) || !Object.hasOwn(value, name))
      return undefined
    value = value[name]
  }
  return value
}
