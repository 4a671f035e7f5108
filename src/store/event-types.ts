import type { EventType, EventTypes } from '../core/event-type.ts'
import type { Queryable } from '../db/db.ts'
import { eventTypesMark, eventTypeVersion, findEventType } from './event-type.ts'

/** How long a change made by another process may go unnoticed. */
const CHECK_AFTER_MS = 1000
/** Companies times types; when it is reached, everything is forgotten and asked for again. */
const MAX_KNOWN = 10_000

/**
 * The registered types, in memory. Before an answer that is older than a second, one cheap statement asks whether
 * anything has changed; without events nothing is asked. Types that are not found are never remembered, so a type is
 * usable as soon as it is registered, in whatever process.
 */
export function eventTypes({ db }: { db: Queryable }, clock: () => number = Date.now): EventTypes {
  const versions = new Map<string, EventType>()
  let types = new Map<string, EventType | Promise<EventType | null>>()
  let mark: string | null = null
  let checkedAt = -Infinity
  let checking: Promise<void> | null = null
  let round = 0

  const check = async (): Promise<void> => {
    const askedAt = clock()
    const askedIn = round
    const now = await eventTypesMark(db)
    if (askedIn !== round) return // asked before the change that `changed` told of
    if (now !== mark || types.size > MAX_KNOWN) types = new Map()
    mark = now
    checkedAt = askedAt
  }

  const remember = (type: EventType | null): EventType | null => {
    if (versions.size > MAX_KNOWN) versions.clear()
    if (type) versions.set(type.id, type)
    return type
  }

  const mustCheck = (): boolean => clock() - checkedAt >= CHECK_AFTER_MS

  return {
    known(companyId, type) {
      if (mustCheck()) return undefined
      const found = types.get(keyOf(companyId, type))
      return found instanceof Promise ? undefined : found
    },

    async find(companyId, type) {
      if (mustCheck()) {
        checking ??= check()
        const mine = checking
        await mine.finally(() => {
          if (checking === mine) checking = null
        })
      }
      const among = types
      const key = keyOf(companyId, type)
      const found = among.get(key)
      if (found) return found

      const asked = findEventType(db, companyId, type).then(remember)
      among.set(key, asked)
      try {
        const answer = await asked
        if (answer) among.set(key, answer)
        else among.delete(key)
        return answer
      } catch (error) {
        among.delete(key)
        throw error
      }
    },

    async version(id) {
      return versions.get(id) ?? remember(await eventTypeVersion(db, id))
    },

    changed() {
      round += 1
      checking = null
      checkedAt = -Infinity
    },
  }
}

const keyOf = (companyId: string, type: string): string => JSON.stringify([companyId, type])
