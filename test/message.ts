import type { Message, RenderedText } from '../src/channels/channel.ts'
import type { Notification } from '../src/core/notification.ts'

/** A message to send in tests of channels. */
export function testMessage(text: Partial<RenderedText> = {}, notification: Partial<Notification> = {}): Message {
  return {
    jobId: '0190a1b2-0000-8000-8000-00000000002a',
    companyId: '',
    event: { type: 'order.paid', data: {} },
    notification: {
      id: '0190a1b2-0000-8000-8000-00000000002b',
      type: 'order.paid',
      title: 'Order paid',
      message: 'Your order is paid.',
      event_id: 'evt-1',
      level: 'info',
      cta: null,
      data: {},
      seq: 1,
      is_read: false,
      is_seen: false,
      is_archived: false,
      snoozed_until: null,
      created_at: '2026-01-01T00:00:00Z',
      ...notification,
    },
    isUpdate: false,
    locale: 'en',
    text: { subject: 'Order paid', body: 'Your order is paid.', format: 'text', ...text },
    lane: 'p2p',
  }
}
