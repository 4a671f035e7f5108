import type { JsonObject } from './json.ts'
import type { Notification } from './notification.ts'

/** Something new in the inbox. */
export const notificationFrame = (notification: Notification): JsonObject => frame('notification', notification)

/** A change of what is in the inbox already. */
export const updatedFrame = (notification: Notification): JsonObject => frame('notification_updated', notification)

const frame = (type: string, notification: Notification): JsonObject => ({
  type,
  data: { notification: notification as unknown as JsonObject },
})
