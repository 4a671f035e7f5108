import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, suite, test } from 'vitest'
import { temporaryDirectory } from '../../test/command-line.ts'
import { banner, type BannerFacts } from './banner.ts'

const KEY = 'sk_of-the-first-start'
const facts: BannerFacts = {
  url: 'http://127.0.0.1:3000',
  isApi: true,
  hasDemo: true,
  channels: ['ws', 'email'],
  apiKey: KEY,
  apiKeyFile: path.resolve('data/api-key'),
  isFirstStart: true,
}

suite('what a person reads at the start', () => {
  test('says where everything is', () => {
    const text = banner(facts, 'en')

    for (const place of ['/', '/docs', '/outbox', '/health', '/metrics']) {
      expect(text).toMatch(new RegExp(`^ {2}\\w[\\w ]+ {2,}http://127\\.0\\.0\\.1:3000${place}$`, 'm'))
    }
    expect(text).toContain('(kept in data/api-key, not shown again)')
  })

  test('shows the first key on the first start only', () => {
    expect(banner(facts, 'en')).toContain(`Authorization: Bearer ${KEY}"`)

    const later = banner({ ...facts, isFirstStart: false }, 'en')
    expect(later).not.toContain(KEY)
    expect(later).toMatch(/^ {2}API key +in data\/api-key$/m)
    expect(banner({ ...facts, isFirstStart: false, apiKey: undefined }, 'en')).toContain('Bearer YOUR_API_KEY"')
  })

  test('leaves out a demo page that is not there', () => {
    expect(banner({ ...facts, hasDemo: false }, 'en')).not.toContain('Demo')
  })

  test('invites to nothing that this process does not answer', () => {
    const text = banner({ ...facts, isApi: false }, 'en')

    expect(text).toContain('http://127.0.0.1:3000/health')
    expect(text).not.toMatch(/Demo|\/docs|\/outbox|curl|first event/)
  })

  test('is Russian for people whose terminal is', () => {
    const text = banner(facts, 'ru')

    expect(text).toContain('EventCenter работает: http://127.0.0.1:3000')
    expect(text).not.toMatch(/API key|Send your/)
  })

  test.each(['en', 'ru'] as const)('holds a request that a shell sends as it stands (%s)', (language) => {
    const { args, body } = pasted(banner(facts, language))

    expect(args).toEqual([
      '-X',
      'POST',
      'http://127.0.0.1:3000/api/v1/events',
      '-H',
      `Authorization: Bearer ${KEY}`,
      '-H',
      'Content-Type: application/json',
      '-d',
    ])
    expect(body).toMatchObject({ user_id: 'demo', type: 'job.done', channels: ['ws', 'email'] })
    expect(body['title']).toMatch(language === 'ru' ? /[а-я]/ : /[a-z]/)
  })

  test('reads the key from its file on later starts, whatever the name of the folder', async () => {
    const apiKeyFile = path.join(await temporaryDirectory(), "it's $HOME `x` key")
    await writeFile(apiKeyFile, `${KEY}\n`)

    const { args } = pasted(banner({ ...facts, apiKeyFile, isFirstStart: false }, 'en'))

    expect(args).toContain(`Authorization: Bearer ${KEY}`)
  })
})

/** What `curl` would be called with when the request is pasted into a shell. */
function pasted(text: string): { args: string[]; body: Record<string, unknown> } {
  const request = /^curl (?:.*\\\n)*.*/m.exec(text)?.[0] ?? ''
  const script = `curl() { for arg; do printf '%s\\0' "$arg"; done; }\n${request}`
  const args = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)
  return { args: args.slice(0, -1), body: JSON.parse(args.at(-1) ?? '') as Record<string, unknown> }
}
