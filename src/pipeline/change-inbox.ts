import { updatedFrame } from '../core/frame.ts'
import type { Notification } from '../core/notification.ts'
import type { Ports } from '../ports.ts'
import { changeAll, changeNotification, type Change, type Selection } from '../store/change-notifications.ts'
import { findNotification, type Owner } from '../store/notification.ts'

type InboxPorts = Pick<Ports, 'db' | 'bus' | 'log'>

/**
 * Changes one notification of the user and shows that to all his sessions. Returns it as it is then, or null when he has
 * none with this row id. Doing it again changes nothing.
 */
export async function changeInbox(
  ports: InboxPorts,
  owner: Owner,
  id: string,
  change: Change,
): Promise<Notification | null> {
  const changed = await changeNotification(ports.db, owner, id, change)
  if (!changed) return findNotification(ports.db, owner, id)
  await announce(ports, owner, [changed])
  return changed
}

/** Makes everything in the inbox, or a part of it, read or seen. Returns how many notifications changed. */
export async function changeWholeInbox(
  ports: InboxPorts,
  owner: Owner,
  change: 'read' | 'seen',
  selection: Selection,
): Promise<number> {
  const { count, head, items } = await changeAll(ports.db, owner, change, selection, MAX_ANNOUNCED)
  if (count > MAX_ANNOUNCED) await announceMany(ports, owner, head)
  else await announce(ports, owner, items)
  return count
}

/** Beyond this, a session learns more cheaply from the database. */
const MAX_ANNOUNCED = 100

async function announce({ bus, log }: InboxPorts, owner: Owner, notifications: Notification[]): Promise<void> {
  try {
    for (const notification of notifications) {
      const seq = String(notification.seq)
      await bus.publish({ company_id: owner.companyId, user_id: owner.userId, seq, frame: updatedFrame(notification) })
    }
  } catch (error) {
    // The change is made, and the bus may lose frames: sessions find it in the database.
    log.warn({ err: error }, 'inbox change not announced')
  }
}

/** A `seq` without a frame: gateways read from the database what changed up to it. */
async function announceMany({ bus, log }: InboxPorts, owner: Owner, head: number): Promise<void> {
  try {
    await bus.publish({ company_id: owner.companyId, user_id: owner.userId, seq: String(head), frame: null })
  } catch (error) {
    log.warn({ err: error }, 'inbox change not announced')
  }
}
