import type { Channel } from '../channels/channel.ts'
import { stopSeconds } from '../core/account-stop.ts'
import { DeliveryError } from '../core/errors.ts'
import type { Accounts } from './accounts.ts'

/**
 * A channel that stops its account when the provider says wait, and sends nothing through one that is stopped: what had
 * been claimed before goes back and is no attempt.
 */
export function heedingChannel(channel: Channel, accounts: Pick<Accounts, 'stop' | 'secondsStopped'>): Channel {
  const { name } = channel
  if (!channel.account) return channel
  return {
    ...channel,

    async send(address, message, signal) {
      const waitSeconds = accounts.secondsStopped(name)
      if (waitSeconds > 0) throw wait('The provider takes nothing for now', waitSeconds)
      try {
        return await channel.send(address, message, signal)
      } catch (error) {
        if (!(error instanceof DeliveryError) || !error.stopsAccount) throw error
        throw wait(error.message, await accounts.stop(name, stopSeconds(error.retryAfterSeconds), error.message), error)
      }
    },
  }
}

const wait = (message: string, retryAfterSeconds: number, cause?: unknown): DeliveryError =>
  new DeliveryError('retry', message, { retryAfterSeconds, stopsAccount: true, cause })
