import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { curlOf } from './curl.ts'

test('a shell reads the command as it was meant, whatever the event says', async () => {
  const event = { user_id: 'demo', type: 'job.done', title: `It's "done" $(id) \`id\` \\ !`, body: 'строка\nстрока' }

  const command = curlOf('http://127.0.0.1:3000', 'sk_x', event).replace(/^curl/, 'printf "%s\\0"')
  const { stdout } = await promisify(execFile)('sh', ['-c', command])

  const words = stdout.split('\0').slice(0, -1)
  expect(words.slice(0, 7)).toEqual([
    '-X',
    'POST',
    'http://127.0.0.1:3000/api/v1/events',
    '-H',
    'Authorization: Bearer sk_x',
    '-H',
    'Content-Type: application/json',
  ])
  expect(JSON.parse(words[8] ?? '')).toEqual(event)
})
