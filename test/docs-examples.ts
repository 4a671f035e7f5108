import { execFileSync } from 'node:child_process'
import type { Answer } from './app.ts'

/** A request of the documentation as its reader would paste it, and the answer that stands below it. */
export type Example = { line: number; script: string; answer: string | null }

/** The requests in a page, in their order. */
export function examplesIn(page: string): Example[] {
  const blocks = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
  return blocks.flatMap(([, language, script = ''], index) => {
    if (language !== 'sh' || !/^curl /m.test(script)) return []
    const [, next, answer = ''] = blocks[index + 1] ?? []
    const line = page.slice(0, blocks[index]?.index).split('\n').length
    return [{ line, script, answer: next === 'http' ? answer : null }]
  })
}

export type Request = { method: string; url: string; headers: Record<string, string>; body?: string }

/** What curl would send when the script is pasted into a shell. */
export function requestOf(script: string, folder: string, env: Record<string, string>): Request {
  const shell = `curl() { for arg; do printf '%s\\0' "$arg"; done; }\n${script}`
  const options = { cwd: folder, env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' } as const
  const args = execFileSync('/bin/sh', ['-c', shell], options).split('\0').slice(0, -1)

  const request: Request = { method: '', url: '', headers: {} }
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? ''
    if (!arg.startsWith('-')) request.url = arg
    else if (arg === '-X') request.method = args[++at] ?? ''
    else if (arg === '-d') request.body = args[++at] ?? ''
    else if (arg === '-H') {
      const [, name = '', value = ''] = /^([^:]+): (.*)$/.exec(args[++at] ?? '') ?? []
      request.headers[name.toLowerCase()] = value
    } else throw new Error(`the documentation uses curl ${arg}, which this test does not know`)
  }
  request.method ||= request.body === undefined ? 'GET' : 'POST'
  return request
}

/** What differs between the answer and the text, or null. Without a text it should be no error. `…` in the text stands for anything, as a member for the rest. */
export function differenceOf(answer: Answer, text: string | null): string | null {
  if (text === null) return answer.status < 300 ? null : `status ${answer.status}`
  const [head = '', body = ''] = text.split('\n\n', 2)
  const [status = '', ...headers] = head.trim().split('\n')
  if (answer.status !== Number(status)) return `status ${answer.status}: ${JSON.stringify(answer.body)}`
  for (const header of headers) {
    const [name = '', value] = header.split(': ')
    if (answer.headers.get(name) !== value) return `header ${name}: ${answer.headers.get(name)}`
  }
  return body === '' ? null : difference(answer.body, JSON.parse(body), 'body')
}

function difference(actual: unknown, expected: unknown, path: string): string | null {
  if (typeof expected === 'string' && typeof actual === 'string')
    return fits(actual, expected) ? null : said(path, actual)
  if (typeof expected !== 'object' || expected === null) return actual === expected ? null : said(path, actual)
  if (typeof actual !== 'object' || actual === null) return said(path, actual)

  const { '…': isOpen, ...members } = expected as Record<string, unknown>
  const names = isOpen === undefined ? new Set([...Object.keys(members), ...Object.keys(actual)]) : Object.keys(members)
  for (const name of names) {
    if (!(name in members)) return `${path}.${name} is not in the text`
    const found = difference((actual as Record<string, unknown>)[name], members[name], `${path}.${name}`)
    if (found !== null) return found
  }
  return null
}

const fits = (actual: string, expected: string): boolean =>
  new RegExp(
    `^${expected
      .split('…')
      .map((part) => RegExp.escape(part))
      .join('[\\s\\S]*')}$`,
  ).test(actual)

const said = (path: string, actual: unknown): string => `${path} is ${JSON.stringify(actual)}`
