import { access, glob, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { banner } from '../src/commands/banner.ts'
import { API_KEY, eventually, JWT_SECRET, startTestApp, type Answer, type TestApp } from './app.ts'
import { run } from './command-line.ts'
import { differenceOf, examplesIn, requestOf, type Example } from './docs-examples.ts'

const ROOT = path.join(import.meta.dirname, '..')
const PAGES = await Array.fromAsync(glob(['*.md', 'docs/**/*.md'], { cwd: ROOT }))
const read = (page: string): Promise<string> => readFile(path.join(ROOT, page), 'utf8')
const texts = await Promise.all(PAGES.map(async (page) => [page, await read(page)] as const))
const WITH_EXAMPLES = texts.flatMap(([page, text]) =>
  page.startsWith('docs/') && examplesIn(text).length > 0 ? [page] : [],
)

suite('a page of the documentation', () => {
  test.each(PAGES)('%s leads to places that exist', async (page) => {
    const text = await read(page)
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
    const missing = await Promise.all(targets.map(async (target) => ((await isThere(page, target)) ? [] : [target])))

    expect(missing.flat()).toEqual([])
  })

  test('is reached from the README', async () => {
    const known = new Set(['README.md'])
    for (const page of known) {
      for (const [, target = ''] of (await read(page)).matchAll(/\]\(([^)#\s]+\.md)/g)) {
        if (!target.includes(':')) known.add(path.join(path.dirname(page), target))
      }
    }

    expect(PAGES.filter((page) => !known.has(page) && !page.startsWith('docs/decisions/'))).toEqual(['CHANGELOG.md'])
  })
})

suite('an example', () => {
  let app: TestApp
  let folder: string
  let env: Record<string, string>
  beforeAll(async () => {
    app = await startTestApp({ DEMO: 'true' })
    folder = await mkdtemp(path.join(tmpdir(), 'eventcenter-docs-'))
    await mkdir(path.join(folder, 'data'))
    await writeFile(path.join(folder, 'data/api-key'), `${API_KEY}\n`)
    env = { URL: app.url, KEY: API_KEY }
  })
  afterAll(async () => {
    await app.close()
    await rm(folder, { recursive: true })
  })

  test('of the README shows what it promises, and is what the server prints', async () => {
    const [example] = examplesIn(await read('README.md'))
    const facts = { isApi: true, hasDemo: true, channels: ['ws', 'email'], apiKeyFile: path.resolve('data/api-key') }
    const printed = banner({ ...facts, url: 'http://127.0.0.1:3000', apiKey: API_KEY, isFirstStart: false }, 'en')
    const live = await app.connect('demo')

    const answer = await send(example)

    expect(printed).toContain(example?.script)
    expect(answer.status).toBe(202)
    const title = 'Your report is ready'
    await live.frame(({ type, data }) => type === 'notification' && data.notification.title === title)
    await live.frame(({ type, data }) => type === 'unread_count' && data.count === 1)
    const mail = await eventually(async () => {
      const { items } = (await app.call('GET', '/api/v1/outbox')).body
      return items[0] ?? null
    }, 'a mail')
    expect(mail).toMatchObject({ to: 'demo@example.com', subject: title })
    live.close()
  })

  test.each(WITH_EXAMPLES)('of %s answers as the text says', async (page) => {
    for (const example of examplesIn(await read(page))) {
      expect(await differenceFound(example), `${page}:${example.line}`).toBeNull()
    }
  })

  test('of the command line works', async () => {
    const commands = [...(await read('docs/operations.md')).matchAll(/^npm run eventcenter -- (.+)$/gm)]
    const settings = { DATABASE_URL: app.database.url, JWT_SECRET, PORT: new URL(app.url).port, API_KEYS: API_KEY }

    for (const [, command = ''] of commands) {
      const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
      const { exitCode, stderr } = await run(args, { ...settings, PUBLIC_URL: app.url })

      expect([command, exitCode, exitCode === 0 ? '' : stderr]).toEqual([command, 0, ''])
    }
    expect(commands.length).toBeGreaterThan(5)
  })

  async function send(example: Example | undefined): Promise<Answer> {
    const { method, url, headers, body } = requestOf(example?.script ?? '', folder, env)
    return app.call(method, url.replace('http://127.0.0.1:3000', app.url), body, headers)
  }

  /** How the answer differs from the text. What became of an event is asked until it has become of it. */
  async function differenceFound(example: Example): Promise<string | null> {
    const isQuestion = example.script.startsWith('curl "')
    const giveUpAt = Date.now() + 10_000
    for (;;) {
      const difference = differenceOf(await send(example), example.answer)
      if (difference === null || !isQuestion || Date.now() > giveUpAt) return difference
    }
  }
})

/** A file or folder, with its heading where one is named; foreign places are not looked at. */
async function isThere(page: string, target: string): Promise<boolean> {
  if (/^(https?|mailto):/.test(target)) return true
  const [file = '', heading] = target.split('#')
  const full = file === '' ? path.join(ROOT, page) : path.join(ROOT, path.dirname(page), file)
  if (
    !(await access(full).then(
      () => true,
      () => false,
    ))
  )
    return false
  if (heading === undefined) return true
  const headings = [...(await readFile(full, 'utf8')).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => anchorOf(text))
  return headings.includes(heading)
}

const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
