import { timeOfId } from './id.ts'

/** No provider is believed that asks for a longer pause; after it one message is tried. */
export const MAX_STOP_SECONDS = 3600
/** Where it does not say how long. */
const DEFAULT_STOP_SECONDS = 60
/** What its provider would not even look at for so long after it was accepted uses up its attempts after all. */
const MAX_WAIT_MS = 3 * 24 * 3600 * 1000

/** How long an account is stopped whose provider asked for this; what it said may be anything. */
export function stopSeconds(asked: number | undefined): number {
  if (asked === undefined || Number.isNaN(asked) || asked <= 0) return DEFAULT_STOP_SECONDS
  return Math.min(Math.max(asked, 1), MAX_STOP_SECONDS)
}

/** Whether a delivery may go on waiting for its account without using up an attempt. */
export const mayWaitForAccount = (deliveryId: string, nowMs: number): boolean =>
  nowMs - timeOfId(deliveryId) < MAX_WAIT_MS
