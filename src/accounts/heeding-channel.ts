import type { Channel } from '../channels/channel.ts'
import { stopSeconds } from '../core/account-stop.ts'
import { DeliveryError } from '../core/errors.ts'
import { LANE_NAMES, type Lane } from '../core/event.ts'
import type { Accounts } from './accounts.ts'

type Account = Pick<Accounts, 'moment' | 'stop' | 'secondsStopped'>

/** The channels, as the worker of each lane uses them. */
export function heedingChannels(
  channels: ReadonlyMap<string, Channel>,
  accounts: Account,
): Record<Lane, ReadonlyMap<string, Channel>> {
  const byLane = LANE_NAMES.map((lane) => [
    lane,
    new Map([...channels].map(([name, channel]) => [name, heedingChannel(channel, lane, accounts)])),
  ])
  return Object.fromEntries(byLane) as Record<Lane, ReadonlyMap<string, Channel>>
}

/**
 * A channel that sends the deliveries of a lane when their moment has come, stops its account when the provider says wait,
 * and sends nothing through one that is stopped: what had been claimed before goes back and is no attempt.
 */
export function heedingChannel(channel: Channel, lane: Lane, accounts: Account): Channel {
  const { name } = channel
  if (!channel.account) return channel
  return {
    ...channel,

    async send(address, message, signal) {
      await accounts.moment({ channel: name, lane }, signal).catch((cause: unknown) => {
        throw wait('Sending was stopped', 1, cause)
      })
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
