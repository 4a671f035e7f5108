import { defineChannel } from '../src/channels/channel.ts'
import { DeliveryError } from '../src/core/errors.ts'
import { required, secureUrl } from '../src/core/setting-parsers.ts'

const settings = {
  SMS_GATEWAY_URL: { describe: 'Where the SMS gateway takes messages: https://….', parse: required(secureUrl) },
}

/** Short messages through a gateway that takes `POST {to, text}` and folds repetitions by Idempotency-Key. */
export const sms = defineChannel({
  name: 'sms',
  settings,

  open: ({ SMS_GATEWAY_URL }) => ({
    name: 'sms',
    bodyFormat: 'text',
    isInbox: false,
    prefersOwnText: false,
    isIdempotent: true,
    onUncertain: 'resend',
    account: { key: 'sms', perSecond: 20 },
    retrySeconds: [10, 60, 300, 1800],

    parseAddress: (text) => /^\+[1-9]\d{6,14}$/.exec(text)?.[0] ?? null,
    address: ({ addresses }) => addresses.find(({ channel }) => channel === 'sms') ?? null,

    async send({ value: to }, { jobId, text }, signal) {
      if (!/^\+\d+$/.test(to)) throw new DeliveryError('reject', 'The address is not a phone number')
      const answer = await fetch(SMS_GATEWAY_URL, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': jobId },
        body: JSON.stringify({ to, text: text.body }),
        redirect: 'error',
        signal,
      }).catch(() => {
        throw new DeliveryError('retry', 'The gateway does not answer')
      })
      if (!answer.ok) throw refusal(answer)
      const providerId = answer.headers.get('x-message-id')
      return providerId === null ? {} : { providerId }
    },
  }),
})

function refusal({ status, headers }: Response): DeliveryError {
  if (status === 404) return new DeliveryError('forget-address', 'The number does not exist')
  if (status !== 429 && status < 500) return new DeliveryError('reject', `The gateway answered ${status}`)
  const retryAfterSeconds = Number(headers.get('retry-after')) || 30
  const stopsAccount = status === 429
  return new DeliveryError('retry', `The gateway answered ${status}`, { retryAfterSeconds, stopsAccount })
}
