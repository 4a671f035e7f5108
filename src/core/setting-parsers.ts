import { isIP } from 'node:net'

/*
 * What the text of a setting may be. A parser gets a text that is there, and throws an `Error` that says what was
 * expected; it never repeats the text, which may be a secret or a secret set under the wrong name.
 */

type Parse<Value> = (text: string) => Value

/** Makes a setting that need not be set: undefined where it is not. */
export const optional =
  <Value>(parse: Parse<Value>) =>
  (text: string | undefined): Value | undefined =>
    text === undefined ? undefined : parse(text)

/** Makes a setting that has a default, or must be set. */
export const required =
  <Value>(parse: Parse<Value>) =>
  (text: string | undefined): Value => {
    if (text === undefined) throw new Error('must be set')
    return parse(text)
  }

/** A whole number of `min` to `max`, both included. */
export const wholeNumber =
  (min: number, max: number): Parse<number> =>
  (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN
    if (value >= min && value <= max) return value
    throw new Error(`expected a whole number from ${min} to ${max}`)
  }

/** A number of `min` to `max`, which may have a fraction. */
export const decimal =
  (min: number, max: number): Parse<number> =>
  (text) => {
    const value = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN
    if (value >= min && value <= max) return value
    throw new Error(`expected a number from ${min} to ${max}`)
  }

/** One of a few words. */
export const oneOf =
  <const Word extends string>(...words: readonly Word[]): Parse<Word> =>
  (text) => {
    const word = words.find((word) => word === text)
    if (word !== undefined) return word
    throw new Error(`expected one of ${words.join(', ')}`)
  }

/** Values separated by commas, spaces around them ignored; at least one. */
export const listOf =
  <Value>(parse: Parse<Value>): Parse<Value[]> =>
  (text) => {
    const parts = text.split(',').map((part) => part.trim())
    if (parts.includes('')) throw new Error('expected a list separated by commas, without empty members')
    return [...new Set(parts)].map(parse)
  }

/** Numbers separated by commas, in the order given. */
export const numbersOf =
  (min: number, max: number, most: number): Parse<number[]> =>
  (text) => {
    const parts = text.split(',')
    if (parts.length > most) throw new Error(`expected at most ${most} numbers separated by commas`)
    return parts.map((part) => wholeNumber(min, max)(part.trim()))
  }

/** One line of visible text. */
export const line: Parse<string> = (text) => {
  if (text.length <= 1000 && !/\p{Cc}/u.test(text)) return text
  throw new Error('expected one line of text')
}

/** A host name or an IP address to listen on. */
export const hostName: Parse<string> = (text) => {
  const isName = text.length <= 253 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(text)
  if (isIP(text) !== 0 || (isName && !/^[\d.]+$/.test(text))) return text
  throw new Error('expected a host name or an IP address')
}

/** The address that people and services use: http or https, without query, fragment or password. No `/` at its end. */
export const baseUrl: Parse<string> = (text) => {
  const url = httpUrl(text)
  if (url && !url.search && !url.hash && !url.username && !url.password) return url.href.replace(/\/+$/, '')
  throw new Error('expected an http:// or https:// address without query, fragment or password')
}

/** An https address, or http to this very machine. */
export const secureUrl: Parse<string> = (text) => {
  const url = httpUrl(text)
  const isSafe = url && (url.protocol === 'https:' || isLoopback(url.hostname))
  if (isSafe && !url.username && !url.password && !url.hash) return url.href
  throw new Error('expected an https:// address (http:// only to this machine), without password or fragment')
}

/** An origin exactly as browsers send it: scheme, host and port. */
export const origin: Parse<string> = (text) => {
  const url = httpUrl(text)
  if (url?.origin === text && !text.includes('*')) return text
  throw new Error('expected origins such as https://app.example.com, without path and without *')
}

/** A language tag, in its canonical form. */
export const languageTag: Parse<string> = (text) => {
  try {
    return new Intl.Locale(text).toString()
  } catch {
    throw new Error('expected a language tag such as en or ru-RU')
  }
}

/** True for names and addresses that only this machine reaches. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i.test(host)

function httpUrl(text: string): URL | null {
  const url = URL.parse(text)
  return url && ['http:', 'https:'].includes(url.protocol) ? url : null
}
