import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { LANES, type Lane } from '../core/event.ts'
import { coalesced } from '../core/coalesce.ts'
import type { Db } from '../db/db.ts'
import type { Notice, Place } from './queue.ts'

const CHANNEL = 'eventcenter_work'
/** PostgreSQL refuses payloads of 8000 bytes. */
const MAX_PAYLOAD_BYTES = 7000
const PLAIN = /^[\w.-]+:[\w.-]+$/

/** Whoever has told nothing for so long may tell within the commit that adds work. */
const QUIET_MS = 20

/** Who hears of work takes all there is, so that a second word within this time would hardly tell anything new. */
const PAUSE_MS = 5

/**
 * The other processes that work on the same queue. They are told of new work by a NOTIFY of its own, after the commit:
 * within the transaction it makes all commits of the database wait for each other, which only those bear that seldom
 * come. A message may be lost; the poll finds the work then.
 */
export function neighbours(db: Db, workerId: string, onWork: (places: readonly Place[] | null) => void) {
  let listening: Promise<{ stop: () => Promise<void> } | null> | undefined
  let toldAtMs = -Infinity

  const notify = coalesced(
    async (calls: (readonly Place[] | null)[]) => {
      await db.query(NOTIFY, [CHANNEL, messageOf(workerId, calls)])
      await sleep(PAUSE_MS, undefined, { ref: false })
      return calls
    },
    { maxInputs: Number.MAX_SAFE_INTEGER, maxRunning: 1 },
  )

  function hear(message: string): void {
    const { from, places } = parseMessage(message)
    if (from !== workerId) onWork(places)
  }

  return {
    /** What the next commit may say itself; null: it is not quiet. */
    notice(places: readonly Place[]): Notice | null {
      const now = performance.now()
      const isQuiet = now - toldAtMs >= QUIET_MS
      toldAtMs = now
      return isQuiet ? { channel: CHANNEL, payload: messageOf(workerId, [places]) } : null
    },

    tell(places: readonly Place[] | null): void {
      toldAtMs = performance.now()
      notify(places).catch(() => {}) // a database that is away has no work to tell of; the poll is there
    },

    listen(): void {
      listening ??= db
        .listen(CHANNEL, hear, () => onWork(null))
        .catch(() => {
          listening = undefined
          return null
        })
    },

    /** What was told in the last moments is not heard of; the poll of the others finds it. */
    async close(): Promise<void> {
      await (await listening)?.stop()
    },
  }
}

/** A message that a crash of the database loses is no loss, so its commit need not wait for the disk. */
const NOTIFY = `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`

/** `<worker> <lane>:<channel> …`, or `<worker> *` where places are unknown, too many, or oddly named. */
export function messageOf(workerId: string, calls: readonly (readonly Place[] | null)[]): string {
  const names = new Set<string>()
  for (const places of calls) for (const { lane, channel } of places ?? []) names.add(`${lane}:${channel}`)
  const message = [workerId, ...names].join(' ')
  const canBeSaid = Buffer.byteLength(message) <= MAX_PAYLOAD_BYTES && [...names].every((name) => PLAIN.test(name))
  return calls.includes(null) || !canBeSaid ? `${workerId} *` : message
}

/** What another version of the program says in words unknown here means: somewhere. */
export function parseMessage(message: string): { from: string; places: Place[] | null } {
  const [from = '', ...names] = message.split(' ')
  const places: Place[] = []
  for (const name of names) {
    const [lane = '', channel] = name.split(':')
    if (!Object.hasOwn(LANES, lane) || channel === undefined) return { from, places: null }
    places.push({ lane: lane as Lane, channel })
  }
  return { from, places: places.length === 0 ? null : places }
}
