import { notificationFrame, updatedFrame } from '../core/frame.ts'
import { defineChannel } from './channel.ts'

/**
 * The live inbox. The notification itself is in the database before this sends; the frame only shows it at once to
 * whoever is online, and a session that misses it reads the gap by `seq`. So repeating it harms nobody.
 */
export const ws = defineChannel({
  name: 'ws',
  settings: {},
  open: (_settings, { bus }) => ({
    name: 'ws',
    bodyFormat: 'text',
    isInbox: true,
    prefersOwnText: true,
    isIdempotent: true,
    onUncertain: 'resend',
    retrySeconds: [1, 5, 30, 60, 300],
    address: (user) => ({ id: '', channel: 'ws', value: user.user_id, state: 'active' }),

    async send(address, { companyId, notification, isUpdate }) {
      const { seq } = notification
      await bus.publish({
        company_id: companyId,
        user_id: address.value,
        ...(seq === null ? {} : { seq: String(seq) }),
        frame: isUpdate ? updatedFrame(notification) : notificationFrame(notification),
      })
      return {}
    },
  }),
})
