import { expect, suite, test } from 'vitest'
import { messageOf, parseMessage } from './neighbours.ts'
import type { Place } from './queue.ts'

const mail: Place = { channel: 'mail', lane: 'p2p' }
const sms: Place = { channel: 'sms', lane: 'broadcast' }

suite('what processes tell each other', () => {
  test('names each place once', () => {
    const message = messageOf('me', [[mail, sms], [mail]])

    expect(parseMessage(message)).toEqual({ from: 'me', places: [mail, sms] })
    expect(message).toBe('me p2p:mail broadcast:sms')
  })

  test.each([
    ['one of them does not know where', [[mail], null]],
    ['a name could be read as another', [[{ ...mail, channel: 'odd name:x' }]]],
    ['there are more than PostgreSQL takes', [Array.from({ length: 2000 }, (_, n) => ({ ...mail, channel: `c${n}` }))]],
  ])('is "somewhere" when %s', (_, calls) => {
    const message = messageOf('me', calls)

    expect(parseMessage(message)).toEqual({ from: 'me', places: null })
    expect(Buffer.byteLength(message)).toBeLessThan(8000)
  })

  test.each(['you', 'you *', 'you p2p:mail newlane:mail', 'you {"v":2}'])(
    'is "somewhere" in words that are not known here: %s',
    (message) => {
      expect(parseMessage(message)).toEqual({ from: 'you', places: null })
    },
  )
})
