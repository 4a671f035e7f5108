import { z } from 'zod'
import { invalidField } from '../core/errors.ts'

/** `?limit=&after=` of every list. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().max(500).optional().describe('`next` of the page before.'),
}

/** A list as it is answered. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    items: z.array(item),
    next: z.string().nullable().describe('Where the next page begins; null: there is none.'),
  })

/** A place in a list as opaque text. */
export const cursorText = (parts: readonly string[]): string => Buffer.from(JSON.stringify(parts)).toString('base64url')

/** The parts of a cursor, each as its check wants it, or `invalid` that names `after`. */
export function cursorParts(text: string, checks: readonly ((part: string) => boolean)[]): string[] {
  const parts = parse(Buffer.from(text, 'base64url').toString())
  if (Array.isArray(parts) && parts.length === checks.length) {
    const isGood = parts.every((part, i) => typeof part === 'string' && checks[i]?.(part))
    if (isGood) return parts as string[]
  }
  throw invalidField('after', 'expected `next` of the page before')
}

/** An id of a row, as it stands in cursors. */
export const isRowId = (text: string): boolean => /^\d{1,18}$/.test(text)

/** A time as the database writes it, which must exist: the database refuses 30 February, and JavaScript does not. */
export function isCursorTime(text: string): boolean {
  if (!/^[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\d{3})?Z$/.test(text)) return false
  const date = new Date(`${text.slice(0, 19)}Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 19) === text.slice(0, 19)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
