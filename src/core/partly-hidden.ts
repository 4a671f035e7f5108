import type { Json } from './json.ts'
import { mask } from './mask.ts'

/** An address to show: enough of it to recognise it by, never the whole. */
export function partlyHiddenAddress(value: string): string {
  const at = value.lastIndexOf('@')
  if (at > 0) return `${first(value)}***${value.slice(at)}`
  return value.length < 8 ? '***' : `${value.slice(0, 2)}***${value.slice(-2)}`
}

/** A value to show to whoever looks into a dead letter: addresses are partly hidden, credentials and tokens wholly. */
export function partlyHidden<Value extends Json>(value: Value): Value {
  if (typeof value === 'string') return hiddenText(value) as Value
  if (Array.isArray(value)) return value.map(partlyHidden) as Value
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, partlyHidden(item)])) as Value
}

const hiddenText = (text: string): string =>
  mask(text.replaceAll(EMAIL, partlyHiddenAddress).replaceAll(PHONE, partlyHiddenAddress))

const EMAIL = /[\p{L}\p{N}._%+'-]{1,64}@[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63})+/gu
/** As services write them: with their country code. */
const PHONE = /(?<![\w+])\+\d(?:[ ()-]{0,2}\d){6,14}(?!\w)/g

/** A letter may be two units of UTF-16. */
const first = (text: string): string => String.fromCodePoint(text.codePointAt(0) ?? 0)
