import type { Notification, ServerFrame } from './protocol.ts'

/** What is known of an inbox: every change up to `cursor`, and perhaps some later ones. */
export type Known = {
  readonly cursor: number
  readonly byId: ReadonlyMap<string, Notification>
  /** By id, the changes beyond `cursor` that frames told of. A loaded list shows changes too, but tells of none. */
  readonly told: ReadonlyMap<string, number>
}

export type Applied = Known & {
  /** There are changes between `cursor` and this frame that never came. */
  hasGap: boolean
  /** No frame said so before. */
  isNew: boolean
}

type ChangeFrame = Extract<ServerFrame, { type: 'notification' | 'notification_updated' }>

/** An inbox whose list is still to be loaded. */
export const knownUpTo = (cursor: number): Known => ({ cursor, byId: new Map(), told: new Map() })

/**
 * Applies one change so that each counts exactly once, whatever comes twice, late, or over another transport. A change
 * that follows on `cursor` moves it; one of a replay does not, because a replay jumps over what later changes replaced,
 * and says itself how far it went (`resumed`).
 */
export function applyChange(known: Known, { replayed = false, data: { notification } }: ChangeFrame): Applied {
  const seq = notification.seq ?? 0
  if (seq <= known.cursor) return { ...known, hasGap: false, isNew: false }

  const follows = !replayed && seq === known.cursor + 1
  const isNew = (known.told.get(notification.id) ?? 0) < seq
  const told = isNew ? new Map(known.told).set(notification.id, seq) : known.told
  const after = { ...known, byId: keep(known.byId, notification), told }
  return { ...(follows ? moveCursor(after, seq) : after), isNew, hasGap: !replayed && !follows }
}

/** Everything up to `seq` is here. */
export function moveCursor(known: Known, seq: number): Known {
  if (seq <= known.cursor) return known
  return { ...known, cursor: seq, told: new Map([...known.told].filter(([, told]) => told > seq)) }
}

/** Takes in one notification unless a later state of it is known. */
export function keep(byId: Known['byId'], notification: Notification): Known['byId'] {
  const old = byId.get(notification.id)
  if (old && (old.seq ?? 0) >= (notification.seq ?? 0)) return byId
  return new Map(byId).set(notification.id, notification)
}

/** After a `reset`: the list as loaded, and what changed since. */
export function replaceAll(byId: Known['byId'], loaded: readonly Notification[], resetSeq: number): Known['byId'] {
  const later = [...byId.values()].filter(({ seq }) => (seq ?? 0) > resetSeq)
  return later.reduce((all, one) => keep(all, one), new Map(loaded.map((one) => [one.id, one])) as Known['byId'])
}

/** What the inbox shows, newest first. */
export function visible(byId: ReadonlyMap<string, Notification>): readonly Notification[] {
  return [...byId.values()]
    .filter(({ is_archived, snoozed_until }) => !is_archived && snoozed_until === null)
    .sort((a, b) => compare(b.created_at, a.created_at) || compare(b.id, a.id))
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
