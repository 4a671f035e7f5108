import { defineChannel } from '../../src/channels/channel.ts'

/** Sends nothing, at once. Like mail, it does not know repetitions, and resends what may have been lost. */
export const noop = defineChannel({
  name: 'noop',
  settings: {},
  open: () => ({
    name: 'noop',
    bodyFormat: 'text',
    isInbox: false,
    prefersOwnText: false,
    isIdempotent: false,
    onUncertain: 'resend',
    retrySeconds: [1],
    address: (user) => ({ id: '', channel: 'noop', value: user.user_id, state: 'active' }),
    send: async () => ({}),
  }),
})
