import { readFileSync } from 'node:fs'
import { expect, suite, test } from 'vitest'
import { eventTypeDefinition } from './event-type-schema.ts'

suite('an event type', () => {
  test('as the documentation shows it is a good one', () => {
    const [, example = ''] = /```json\n(.*?)```/s.exec(readFileSync('docs/event-types.md', 'utf8')) ?? []

    expect(eventTypeDefinition.safeParse(JSON.parse(example)).error).toBeUndefined()
  })

  test('is told all its faults at once', () => {
    const faults = eventTypeDefinition.safeParse({ type: 'a b', recipients: {}, channels: ['WS'], level: 'loud' }).error
      ?.issues

    expect(faults?.map(({ path }) => path.join('.'))).toEqual(['type', 'recipients.path', 'channels.0', 'level'])
  })
})
