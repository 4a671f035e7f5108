import { all } from './all.ts'
import type { Channel, ChannelDefinition, ChannelPorts } from './channel.ts'

/** Settings of each channel, by the channel's name. */
type Settings = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** Opens every listed channel with its settings. `retrySeconds`, where set, replaces each channel's own schedule. */
export function openChannels(
  settings: Settings,
  ports: ChannelPorts,
  retrySeconds?: readonly number[],
  definitions: readonly ChannelDefinition[] = all,
): ReadonlyMap<string, Channel> {
  return new Map(
    definitions.map((definition) => {
      const channel = definition.open(settings[definition.name] ?? {}, ports)
      return [channel.name, retrySeconds === undefined ? channel : { ...channel, retrySeconds }]
    }),
  )
}
