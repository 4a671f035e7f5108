import { inspect } from 'node:util'
import { afterEach, beforeEach, expect, suite, test } from 'vitest'
import { testMessage } from '../../test/message.ts'
import { DeliveryError } from '../core/errors.ts'
import type { Address, User } from '../directory/directory.ts'
import type { Channel, ChannelDefinition } from './channel.ts'

/** An open channel with another side that does as it is told. */
export type ChannelFixture = {
  definition: ChannelDefinition
  channel: Channel
  /** Somebody whom the channel reaches. */
  user: User
  /** Makes the other side refuse what is sent, and quote the address; null where nothing can refuse. */
  refuse: (() => void | Promise<void>) | null
  /** Makes the other side never answer; null where there is nothing to wait for. */
  hang: (() => void | Promise<void>) | null
  /** Ends the other side. */
  close(): Promise<void>
}

/** What everything may rely on that uses channels. Every channel passes it: `docs/channels/new-channel.md`. */
export function channelContract(name: string, fresh: () => Promise<ChannelFixture>): void {
  suite(`the channel ${name}`, () => {
    let it: ChannelFixture
    beforeEach(async () => {
      it = await fresh()
    })
    afterEach(async () => {
      await it.channel.close?.()
      await it.close()
    })

    test('has settings that explain themselves and never repeat a wrong value', () => {
      for (const [setting, { describe, default: text, parse }] of Object.entries(it.definition.settings)) {
        expect(setting).toMatch(/^[A-Z][A-Z\d]*(_[A-Z\d]+)*$/)
        expect(describe).toMatch(/^\P{Cc}{10,200}\.$/u)
        if (text !== undefined) expect(() => parse(text)).not.toThrow()
        for (const wrong of ['\0s3cret', 's3cret s3cret', 's3cret://s3cret@s3cret/s3cret']) {
          expect(complaintOf(() => parse(wrong))).not.toContain('s3cret')
        }
      }
    })

    test('is what its definition says, and retries later and later', () => {
      const { name: channelName, retrySeconds } = it.channel

      expect(channelName).toBe(it.definition.name)
      expect(channelName).toMatch(/^[a-z][a-z\d_]*$/)
      expect(retrySeconds.length).toBeGreaterThan(0)
      expect(retrySeconds[0]).toBeGreaterThan(0)
      expect(retrySeconds.toSorted((a, b) => a - b)).toEqual(retrySeconds)
    })

    test('names its account, where it has one, without telling what is in its settings', () => {
      const { account = { key: it.channel.name } } = it.channel

      expect(account.key).toMatch(new RegExp(`^${it.channel.name}(:[\\da-f]{8})?$`))
      if (account.perSecond !== undefined) expect(account.perSecond).toBeGreaterThan(0)
      if (account.burst !== undefined) expect(account.burst).toBeGreaterThanOrEqual(1)
    })

    test('knows where a user is reached', () => {
      const address = it.channel.address(it.user)

      expect(address).toMatchObject({ channel: it.channel.name, state: 'active' })
      expect(it.channel.parseAddress?.(address!.value) ?? address!.value).toBe(address!.value)
    })

    test('reaches nobody by the addresses of other channels', () => {
      const addresses: Address[] = [{ id: '9', channel: 'another', value: 'anywhere', state: 'active' }]
      const address = it.channel.address({ ...it.user, addresses })

      // Without addresses of its own a channel reaches its users by their ids alone.
      expect(address?.value ?? null).toBe(it.channel.parseAddress ? null : it.user.user_id)
    })

    test('sends, also the same message again', async () => {
      const address = it.channel.address(it.user)!

      const receipts = [
        await it.channel.send(address, testMessage(), new AbortController().signal),
        await it.channel.send(address, testMessage(), new AbortController().signal),
      ]

      for (const { providerId } of receipts) expect(['string', 'undefined']).toContain(typeof providerId)
    })

    test('settles soon where it was stopped before it began', async () => {
      const outcome = await soon(
        outcomeOf(it.channel.send(it.channel.address(it.user)!, testMessage(), AbortSignal.abort())),
      )

      if (outcome !== null) expect(outcome).toBeInstanceOf(DeliveryError)
    })

    test('settles soon where it is stopped while the other side is silent', async () => {
      if (!it.hang) return expect(it.channel.isIdempotent).toBe(true)
      await it.hang()
      const stop = new AbortController()

      const sending = outcomeOf(it.channel.send(it.channel.address(it.user)!, testMessage(), stop.signal))
      setTimeout(() => stop.abort(), 100)

      const outcome = await soon(sending)
      expect(outcome).toBeInstanceOf(DeliveryError)
      expect(['retry', 'uncertain']).toContain((outcome as DeliveryError).verdict)
    })

    test('tells of a refusal with a verdict and without the address', async () => {
      if (!it.refuse) return expect(it.channel.isIdempotent).toBe(true)
      await it.refuse()
      const address = it.channel.address(it.user)!

      const outcome = await outcomeOf(it.channel.send(address, testMessage(), new AbortController().signal))

      expect(outcome).toBeInstanceOf(DeliveryError)
      expect((outcome as DeliveryError).message).toMatch(/^\P{Cc}{1,500}$/u)
      expect(inspect(outcome, { depth: 10, showHidden: true })).not.toContain(address.value)
    })

    test('refuses an address that is none, and nothing else is tried', async () => {
      if (!it.channel.parseAddress) return
      for (const value of ['', '\r\n', 'x'.repeat(10_000)]) {
        expect(it.channel.parseAddress(value)).toBeNull()
        const address: Address = { id: '1', channel: it.channel.name, value, state: 'active' }
        const outcome = await outcomeOf(it.channel.send(address, testMessage(), new AbortController().signal))

        expect(outcome).toMatchObject({ name: 'DeliveryError', verdict: 'reject' })
      }
    })

    test('can be checked and closed, more than once', async () => {
      await soon(Promise.resolve(it.channel.check?.()))

      await soon(Promise.resolve(it.channel.close?.()))
      await soon(Promise.resolve(it.channel.close?.()))
    })
  })
}

const SOON_MS = 2000

async function soon<Result>(promise: Promise<Result>): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`Not settled within ${SOON_MS} ms`)), SOON_MS)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** What was thrown, or null. */
const outcomeOf = (sending: Promise<unknown>): Promise<unknown> =>
  sending.then(
    () => null,
    (error: unknown) => error,
  )

function complaintOf(parse: () => unknown): string {
  try {
    parse()
    return ''
  } catch (error) {
    return String(error)
  }
}
