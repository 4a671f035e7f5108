/**
 * A value as text without characters that have no place in a message: control characters but tab and line break, and
 * those that turn the reading direction of all that follows.
 */
export const withoutControls = (text: string): string => text.replace(CONTROLS, '')

// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** Safe in HTML text and in quoted attributes. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** What `escapeHtml` wrote, and numeric references; others stay as they are. */
export const unescapeHtml = (text: string): string =>
  text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(amp|lt|gt|quot|apos));?/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return NAMED[String(name).toLowerCase()] ?? whole
    const code = decimal === undefined ? Number.parseInt(String(hex), 16) : Number(decimal)
    return code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd'
  })

const NAMED: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** Longer subjects are cut off by mail programs anyway. */
const MAX_SUBJECT_LENGTH = 200

/** One line: what would end a header, and everything invisible, becomes a space or nothing. */
export function singleLine(text: string): string {
  const line = withoutControls(text).replace(/\s+/gu, ' ').trim()
  const characters = Array.from(line)
  return characters.length <= MAX_SUBJECT_LENGTH ? line : `${characters.slice(0, MAX_SUBJECT_LENGTH - 1).join('')}…`
}
