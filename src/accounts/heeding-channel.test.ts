import { expect, suite, test } from 'vitest'
import { testMessage } from '../../test/message.ts'
import type { Channel } from '../channels/channel.ts'
import { DeliveryError } from '../core/errors.ts'
import type { Address } from '../directory/directory.ts'
import { heedingChannel } from './heeding-channel.ts'

const ADDRESS: Address = { id: '1', channel: 'sms', value: '+79990000001', state: 'active' }

/** A channel whose provider answers with this, and what became of its account. */
function channelThat(answers: () => Promise<object>) {
  const stops: [string, number, string][] = []
  const moments: string[] = []
  let stoppedFor = 0
  let calls = 0
  const channel: Channel = {
    name: 'sms',
    bodyFormat: 'text',
    isInbox: false,
    prefersOwnText: true,
    isIdempotent: false,
    onUncertain: 'hold',
    retrySeconds: [1],
    account: { key: 'sms' },
    address: () => ADDRESS,
    send: async () => {
      calls += 1
      return answers()
    },
  }
  const heeding = heedingChannel(channel, 'broadcast', {
    moment: async (place, signal) => {
      signal.throwIfAborted()
      moments.push(`${place.channel} ${place.lane}`)
    },
    secondsStopped: () => stoppedFor,
    stop: async (name, seconds, reason) => {
      stops.push([name, seconds, reason])
      stoppedFor = Math.max(stoppedFor, seconds)
      return stoppedFor
    },
  })
  return {
    stops,
    moments,
    calls: () => calls,
    send: (signal = new AbortController().signal) => heeding.send(ADDRESS, testMessage(), signal),
  }
}

const refusing =
  (retryAfterSeconds?: number, stopsAccount = true) =>
  async (): Promise<never> => {
    throw new DeliveryError('retry', 'slow down', { stopsAccount, ...(retryAfterSeconds && { retryAfterSeconds }) })
  }

suite('a channel with an account', () => {
  test('sends as it always did', async () => {
    const { send, stops, moments } = channelThat(async () => ({ providerId: '1' }))

    await expect(send()).resolves.toEqual({ providerId: '1' })
    expect(moments).toEqual(['sms broadcast'])
    expect(stops).toEqual([])
  })

  test('sends nothing when it is stopped before the moment comes, and that is no attempt', async () => {
    const { send, calls } = channelThat(async () => ({}))

    await expect(send(AbortSignal.abort())).rejects.toMatchObject({ stopsAccount: true, retryAfterSeconds: 1 })
    expect(calls()).toBe(0)
  })

  test('stops its account when it is told to wait, and sends nothing more', async () => {
    const { send, stops, calls } = channelThat(refusing(40))

    const errors = [await send().catch((error: unknown) => error), await send().catch((error: unknown) => error)]

    expect(stops).toEqual([['sms', 40, 'slow down']])
    expect(calls()).toBe(1)
    for (const error of errors) expect(error).toMatchObject({ stopsAccount: true, retryAfterSeconds: 40 })
  })

  test.each([
    [NaN, 60],
    [-3, 60],
    [1e9, 3600],
    [undefined, 60],
  ])('believes no nonsense: %s is %s s', async (asked, seconds) => {
    const { send, stops } = channelThat(refusing(asked))

    await send().catch(() => {})

    expect(stops).toEqual([['sms', seconds, 'slow down']])
  })

  test('stops nothing when a refusal is about the message, or an error without a verdict', async () => {
    const about = channelThat(refusing(40, false))
    const broken = channelThat(async () => {
      throw new TypeError('broken')
    })

    await expect(about.send()).rejects.toMatchObject({ stopsAccount: false })
    await expect(broken.send()).rejects.toThrow(TypeError)
    expect([...about.stops, ...broken.stops]).toEqual([])
  })
})
