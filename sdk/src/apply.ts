import type { Notification, ServerFrame } from './protocol.ts'

/** What is known of an inbox: every change up to `cursor`, and perhaps some later ones. */
export type Known = {
  readonly cursor: number
  readonly byId: ReadonlyMap<string, Notification>
}

export type Applied = Known & {
  /** There are changes between `cursor` and this frame that never came. */
  hasGap: boolean
  /** The frame said something that was not said before. */
  isNew: boolean
}

type ChangeFrame = Extract<ServerFrame, { type: 'notification' | 'notification_updated' }>

/**
 * Applies one change so that each counts exactly once, whatever comes twice, late, or over another transport. A change
 * that follows on `cursor` moves it; one of a replay does not, because a replay jumps over what later changes replaced,
 * and says itself how far it went (`resumed`).
 */
export function applyChange(known: Known, { replayed = false, data: { notification } }: ChangeFrame): Applied {
  const seq = notification.seq ?? 0
  if (!replayed && seq <= known.cursor) return { ...known, hasGap: false, isNew: false }

  const { byId, isNew } = keep(known.byId, notification)
  const follows = !replayed && seq === known.cursor + 1
  // A list that was being loaded may already hold what follows: it is news all the same.
  return { cursor: follows ? seq : known.cursor, byId, isNew: isNew || follows, hasGap: !replayed && !follows }
}

/** Takes in one notification unless a later state of it is known. */
export function keep(
  byId: ReadonlyMap<string, Notification>,
  notification: Notification,
): { byId: ReadonlyMap<string, Notification>; isNew: boolean } {
  const old = byId.get(notification.id)
  if (old && (old.seq ?? 0) >= (notification.seq ?? 0)) return { byId, isNew: false }
  return { byId: new Map(byId).set(notification.id, notification), isNew: true }
}

/** After a `reset`: the list as loaded, and what changed since. */
export function replaceAll(
  byId: ReadonlyMap<string, Notification>,
  loaded: readonly Notification[],
  resetSeq: number,
): ReadonlyMap<string, Notification> {
  const later = [...byId.values()].filter(({ seq }) => (seq ?? 0) > resetSeq)
  return later.reduce((all, one) => keep(all, one).byId, new Map(loaded.map((one) => [one.id, one])) as Known['byId'])
}

/** What the inbox shows, newest first. */
export function visible(byId: ReadonlyMap<string, Notification>): readonly Notification[] {
  return [...byId.values()]
    .filter(({ is_archived, snoozed_until }) => !is_archived && snoozed_until === null)
    .sort((a, b) => compare(b.created_at, a.created_at) || compare(b.id, a.id))
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
