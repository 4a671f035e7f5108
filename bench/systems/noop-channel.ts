import { defineChannel } from '../../src/channels/channel.ts'

/** Sends nothing, at once. Like mail, it may not repeat what it may have sent. */
export const noop = defineChannel({
  name: 'noop',
  settings: {},
  open: () => ({
    name: 'noop',
    bodyFormat: 'text',
    isInbox: false,
    prefersOwnText: false,
    isIdempotent: false,
    onUncertain: 'hold',
    retrySeconds: [1],
    address: (user) => ({ id: '', channel: 'noop', value: user.user_id, state: 'active' }),
    send: async () => ({}),
  }),
})
