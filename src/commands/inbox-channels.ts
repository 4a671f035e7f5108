import type { ChannelPorts } from '../channels/channel.ts'
import { openChannels } from '../channels/open.ts'
import type { Config } from '../config.ts'

/** Names of the channels that are inboxes. They are opened only to be asked. */
export async function inboxChannels({ channels: settings }: Pick<Config, 'channels'>): Promise<string[]> {
  const channels = [...openChannels(settings, NO_PORTS).values()]
  for (const channel of channels) await channel.close?.()
  return channels.filter(({ isInbox }) => isInbox).map(({ name }) => name)
}

const refuse = (): Promise<never> => Promise.reject(new Error('Nothing is sent from here'))
const NO_PORTS: ChannelPorts = {
  bus: { publish: refuse, subscribe: refuse, check: refuse, close: async () => {} },
  mailOutbox: { keep: refuse },
}
