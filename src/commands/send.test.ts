import { expect, suite, test } from 'vitest'
import { run, temporaryDirectory } from '../../test/command-line.ts'

const EVENT = ['send', '--to', 'demo', '--type', 'job.done', '--title', 'Ready', '--body', 'All done.']
const API_KEYS = `sk_CANARY${'x'.repeat(40)}`

suite('eventcenter send', () => {
  test.each([
    [
      'no server runs',
      { PORT: '9', API_KEYS },
      [],
      'No EventCenter answers at http://127.0.0.1:9: start it with `eventcenter serve`',
    ],
    ['there is no key', { PORT: '9' }, [], 'There is no API key here: set API_KEYS, or start the server once on'],
    [
      'the address is none',
      { API_KEYS },
      ['--url', 'localhost:3000'],
      '--url must be an http(s) address such as https://',
    ],
    [
      'no server is behind that path',
      { API_KEYS },
      ['--url', 'http://127.0.0.1:9/notify/'],
      'No EventCenter answers at http://127.0.0.1:9/notify: start it',
    ],
    ['the data is no JSON', { PORT: '9', API_KEYS }, ['--data', '{CANARY'], '--data must be a JSON object'],
  ])('says so when %s', async (_when, environment, more, message) => {
    const { exitCode, stdout, stderr } = await run([...EVENT, ...more], {
      DATA_DIR: await temporaryDirectory(),
      ...environment,
    })

    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/CANARY| {4}at /)
  })

  test('asks for what it needs', async () => {
    const { exitCode, stderr } = await run(['send', '--to', 'demo'])

    expect(exitCode).toBe(1)
    expect(stderr).toContain("required option '--type <type>' not specified")
  })
})
