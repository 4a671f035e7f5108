import { notificationFrame } from '../core/frame.ts'
import type { Ports } from '../ports.ts'
import { wakeNotifications } from '../store/change-notifications.ts'

/** Brings snoozed notifications back when their time has come. Returns how many came back. */
export async function wakeSnoozed({ db, bus, log }: Pick<Ports, 'db' | 'bus' | 'log'>): Promise<number> {
  let total = 0
  for (;;) {
    const woken = await wakeNotifications(db, PAGE)
    total += woken.length
    for (const { owner, notification } of woken) {
      const seq = String(notification.seq)
      const frame = notificationFrame(notification)
      await bus.publish({ company_id: owner.companyId, user_id: owner.userId, seq, frame }).catch((error: unknown) => {
        log.warn({ err: error }, 'woken notification not announced')
      })
    }
    if (woken.length < PAGE) return total
  }
}

const PAGE = 200
