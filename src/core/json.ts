export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

/** The same text for the same value whatever the order of its keys, so that equal bodies have equal fingerprints. */
export function canonicalJson(value: Json): string {
  const ordered = inOrder(value)
  return ordered === undefined ? textOf(value) : JSON.stringify(ordered)
}

/**
 * A copy with the keys in order, which the engine writes in half of the time: every accepted event comes through here.
 * Undefined where an object would not keep that order, or not keep the key.
 */
function inOrder(value: Json): Json | undefined {
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) {
    const items: Json[] = []
    for (const item of value) {
      const copy = inOrder(item)
      if (copy === undefined) return undefined
      items.push(copy)
    }
    return items
  }
  const members: JsonObject = {}
  for (const key of Object.keys(value).sort()) {
    const copy = inOrder(value[key] as Json)
    // Whole numbers go first in every object, so what is sorted up to them is left to the other way.
    if (copy === undefined || key < ':' || key === '__proto__') return undefined
    members[key] = copy
  }
  return members
}

function textOf(value: Json): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  let text = ''
  if (Array.isArray(value)) {
    for (const item of value) text += `${text === '' ? '' : ','}${textOf(item)}`
    return `[${text}]`
  }
  for (const key of Object.keys(value).sort()) {
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${textOf(value[key] as Json)}`
  }
  return `{${text}}`
}
