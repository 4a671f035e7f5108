import type { ReceivedLine } from '../receivers/smtp-receiver.ts'

/** A moment at which the outcome of at most so many mails became unknown. */
export type Cause = { at: Date; atMost: number }

/**
 * How long before a mail was taken its fate may have been sealed: a receiver reads what a dead process had written, and a
 * process goes on sending what it cannot record while the database is away.
 */
const LATE_MS = 10_000

/**
 * Copies that no cause accounts for. A copy has a cause between its predecessor and itself, and a cause has no more copies
 * than it says, and one of each mail. Causes take the copy first that could not have come of a later one.
 */
export function unexplainedCopies(received: readonly ReceivedLine[], causes: readonly Cause[]): string[] {
  const open = copiesOf(received)
  for (const { at, atMost } of causes.toSorted((a, b) => a.at.getTime() - b.at.getTime())) {
    const time = at.getTime()
    const explained = new Set<string>()
    for (const copy of [...open].sort((a, b) => a.untilMs - b.untilMs)) {
      const { messageId, fromMs, untilMs } = copy
      if (explained.size === atMost || time < fromMs || untilMs < time || explained.has(messageId)) continue
      explained.add(messageId)
      open.delete(copy)
    }
  }
  return [...open].map(({ messageId }) => messageId)
}

function copiesOf(received: readonly ReceivedLine[]) {
  const copies = new Set<{ messageId: string; fromMs: number; untilMs: number }>()
  const last = new Map<string, number>()
  for (const { message_id: messageId, at } of received) {
    const untilMs = Date.parse(at)
    const before = last.get(messageId)
    if (before !== undefined) copies.add({ messageId, fromMs: before - LATE_MS, untilMs })
    last.set(messageId, untilMs)
  }
  return copies
}
