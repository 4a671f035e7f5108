import type { Place, Throttle } from '../queue/queue.ts'

/** The accounts at providers: how much each may be given, and whether it takes anything now. For all processes together. */
export type Accounts = Throttle & {
  /** The provider of this channel takes nothing for so long. Returns the seconds until it is asked again. */
  stop(channel: string, seconds: number, reason: string): Promise<number>
  /** How long the provider of this channel takes nothing; 0: it does. */
  secondsStopped(channel: string): number
  /** Resolves when a message that was granted may go; rejects when the signal comes first. */
  moment(place: Place, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}
