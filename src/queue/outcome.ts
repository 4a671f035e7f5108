import type { Channel } from '../channels/channel.ts'
import { mayWaitForAccount, stopSeconds } from '../core/account-stop.ts'
import { afterSilence } from '../core/delivery-life.ts'
import { DeliveryError, isUnavailable } from '../core/errors.ts'
import { retryDelay } from '../core/retry.ts'
import { TemplateError } from '../render/renderer.ts'
import type { ClaimedDelivery, Result } from './queue.ts'

/** Until the database, or the directory, is looked for again. */
const POSTPONE_SECONDS = 5

/**
 * What a failed attempt means for its delivery. An error without a verdict is uncertain only if sending had begun; what
 * it says is not repeated, as a library's words may hold an address. `random` is in [0, 1).
 */
export function resultOfFailure(
  channel: Pick<Channel, 'isIdempotent' | 'onUncertain' | 'retrySeconds'>,
  { id, attempt, crashes }: Pick<ClaimedDelivery, 'id' | 'attempt' | 'crashes'>,
  failure: { error: unknown; hadBegun: boolean },
  { uncertainResendSeconds, random, nowMs }: { uncertainResendSeconds: number; random: number; nowMs: number },
): Result {
  const { error } = failure
  // Our own trouble, before anything was sent, is no attempt.
  if (!failure.hadBegun && isUnavailable(error)) {
    return { id, state: 'postponed', reason: error.message, afterSeconds: POSTPONE_SECONDS }
  }
  // Neither is what the provider has against us, and not against this message.
  if (error instanceof DeliveryError && error.stopsAccount && mayWaitForAccount(id, nowMs)) {
    return { id, state: 'postponed', reason: error.message, afterSeconds: stopSeconds(error.retryAfterSeconds) }
  }
  const { verdict, reason, retryAfterSeconds } = verdictOf(channel, failure)
  const finished = attempt + 1

  if (verdict === 'reject' || verdict === 'forget-address') return { id, state: 'failed', verdict, reason }
  if (verdict === 'uncertain') {
    return afterSilence(crashes, channel.onUncertain) === 'retry'
      ? { id, state: 'retry', verdict, reason, afterSeconds: uncertainResendSeconds }
      : { id, state: 'uncertain', reason }
  }
  const afterSeconds = retryDelay(channel.retrySeconds, finished, retryAfterSeconds, random)
  return afterSeconds === null
    ? { id, state: 'failed', verdict, reason: `${reason} (attempt ${finished} was the last)` }
    : { id, state: 'retry', verdict, reason, afterSeconds }
}

function verdictOf(channel: Pick<Channel, 'isIdempotent'>, { error, hadBegun }: { error: unknown; hadBegun: boolean }) {
  if (error instanceof DeliveryError) {
    return { verdict: error.verdict, reason: error.message, retryAfterSeconds: error.retryAfterSeconds }
  }
  if (error instanceof TemplateError) {
    // A busy cage is no fault of the template.
    const verdict = error.code === 'timeout' ? 'retry' : 'reject'
    return { verdict, reason: `template: ${error.message}` } as const
  }
  const verdict = hadBegun && !channel.isIdempotent ? 'uncertain' : 'retry'
  const name = error instanceof Error ? error.name : 'unknown error'
  return { verdict, reason: `${name} while ${hadBegun ? 'sending' : 'preparing'}` } as const
}
