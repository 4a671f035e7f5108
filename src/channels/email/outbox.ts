import type { MailOutbox } from '../channel.ts'
import { DeliveryError } from '../../core/errors.ts'
import type { Transport } from './transport.ts'

/** Keeps mail for the built-in outbox page instead of sending it. */
export const outboxTransport = (outbox: MailOutbox): Transport => ({
  isIdempotent: true,

  async send({ from, ...mail }, signal) {
    const sender = from.name === '' ? from.address : `${from.name} <${from.address}>`
    const kept = outbox.keep({ ...mail, from: sender })
    try {
      await Promise.race([kept, aborted(signal)])
    } catch (error) {
      if (signal.aborted) throw new DeliveryError('retry', 'The mail was not kept in time')
      throw new DeliveryError('retry', 'The outbox cannot be written now', { cause: error })
    }
    return {}
  },

  async check() {},
  async close() {},
})

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    const stop = (): void => reject(new Error('aborted'))
    if (signal.aborted) return stop()
    signal.addEventListener('abort', stop, { once: true })
  })
