import type { FastifyInstance } from 'fastify'
import { AppError } from '../core/errors.ts'

/** CloudEvents have a type of their own; nothing else is read, so a form of a foreign page never counts as a request. */
const CONTENT_TYPES = ['application/json', 'application/cloudevents+json']

/** Reads request bodies: JSON only, and only JSON that nothing behind this can stumble over. */
export function jsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(CONTENT_TYPES, { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    try {
      done(null, body.length === 0 ? undefined : parseJson(body))
    } catch (error) {
      done(error as Error)
    }
  })
}

/** Deep enough for any payload, shallow enough for every recursion behind this. */
const MAX_DEPTH = 20

/**
 * The value of a JSON text. Throws `invalid` for what is not UTF-8 or not JSON, is nested deeper than 20 levels, has a
 * member twice (programs differ in which one they take) or one that could reach a prototype, or holds characters that the
 * database cannot keep: U+0000 and halves of surrogate pairs.
 */
export function parseJson(body: Buffer): unknown {
  const text = decode(body)
  checkStructure(text)
  try {
    return JSON.parse(text)
  } catch (error) {
    // The engine's message tells the place, and quotes nothing but the caller's own text.
    throw invalid(error instanceof SyntaxError ? `is no JSON: ${error.message}` : 'cannot be read')
  }
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true })

function decode(body: Buffer): string {
  try {
    return UTF_8.decode(body)
  } catch {
    throw invalid(`is not valid UTF-8 at byte ${firstBadByte(body)}`)
  }
}

/** An object or list that is open; `names` is null for a list. */
type Open = { names: Set<string> | null; expectsName: boolean; lastName: string }

/** One pass without recursion. Says nothing about text that is no JSON: parsing does. */
function checkStructure(text: string): void {
  const open: Open[] = []
  const hasEscapes = text.includes('\\u')

  for (let at = 0; at < text.length; at++) {
    const inner = open.at(-1)
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at)
        if (inner?.expectsName && inner.names) {
          noteName(inner.names, open, (inner.lastName = valueOf(text, at, end)), at)
          inner.expectsName = false
        } else if (hasEscapes) valueOf(text, at, end)
        at = end
        break
      }
      case COMMA:
        if (inner) inner.expectsName = inner.names !== null
        break
      case BRACE:
      case BRACKET: {
        if (open.length === MAX_DEPTH) throw invalid(`is nested deeper than ${MAX_DEPTH} levels at position ${at}`)
        const isObject = text.charCodeAt(at) === BRACE
        open.push({ names: isObject ? new Set() : null, expectsName: isObject, lastName: '' })
        break
      }
      case BRACE_END:
      case BRACKET_END:
        open.pop()
    }
  }
}

const [QUOTE, COMMA, BRACE, BRACKET, BRACE_END, BRACKET_END, BACKSLASH] = [0x22, 0x2c, 0x7b, 0x5b, 0x7d, 0x5d, 0x5c]

function noteName(names: Set<string>, open: readonly Open[], name: string, at: number): void {
  if (names.has(name)) throw invalid(`has the member "${shortened(name)}" twice, again at position ${at}`)
  names.add(name)
  const isInConstructor = name === 'prototype' && open.at(-2)?.lastName === 'constructor'
  if (name === '__proto__' || isInConstructor) throw invalid(`must not have the member "${name}", at position ${at}`)
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return end
  }
  return text.length
}

/** The characters of a string literal, which must be ones that the database can keep. */
function valueOf(text: string, start: number, end: number): string {
  const literal = text.slice(start + 1, end)
  if (!literal.includes('\\')) return literal
  const value = unescaped(`"${literal}"`)
  if (value.includes('\0')) throw invalid(`holds the character U+0000 after position ${start}`)
  if (!value.isWellFormed()) throw invalid(`holds half a surrogate pair after position ${start}`)
  return value
}

function unescaped(literal: string): string {
  try {
    return JSON.parse(literal) as string
  } catch {
    return literal // no JSON: told by the parser
  }
}

function firstBadByte(body: Buffer): number {
  const decoded = body.toString('utf8')
  for (let at = decoded.indexOf('\ufffd'); at !== -1; at = decoded.indexOf('\ufffd', at + 1)) {
    const place = Buffer.byteLength(decoded.slice(0, at))
    if (!body.subarray(place, place + 3).equals(REPLACEMENT)) return place
  }
  return 0
}

/** Where the text itself has U+FFFD, nothing is wrong. */
const REPLACEMENT = Buffer.from('\ufffd')

const shortened = (name: string): string => (name.length > 100 ? `${name.slice(0, 100)}…` : name)

const invalid = (what: string): AppError =>
  new AppError('invalid', `The body ${what}`, { fields: [{ field: '', message: what }] })
