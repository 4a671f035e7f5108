import { EventEmitter } from 'node:events'
import { performance } from 'node:perf_hooks'
import { MAX_CRASHES } from '../core/delivery-life.ts'
import { laneOf, LANES, PRIORITIES } from '../core/event.ts'
import type { Db } from '../db/db.ts'
import type { ClaimedDelivery, Queue, Recovery } from './queue.ts'
import { neighbours } from './neighbours.ts'
import { CHANNEL_NUMBERS, CLAIM, DUE } from './postgres-claim.ts'
import { FINISH, RECOVER, RELEASE, RENEW, START } from './postgres-statements.ts'
import { resultRows } from './result-rows.ts'
import { watermarks } from './watermarks.ts'

/** Long enough for the other side to have shown the first copy to a person who may cancel. */
const RESEND_AFTER_SECONDS = 300

type Options = {
  db: Db
  nextId: () => string
  workerId: string
  leaseSeconds: number
  resendAfterSeconds?: number
  /** Other processes use the same queue: they are told of new work, and tell of theirs. */
  isShared?: boolean
  /** What the time between two looks at everything is measured by. */
  clockMs?: () => number
}

/**
 * The queue in the database's own tables: a claim moves rows from `ready` into one `lease` row, and only the outcome
 * touches the delivery. See docs/decisions/002-queue.md for what was measured.
 */
export function postgresQueue({
  db,
  nextId,
  workerId,
  leaseSeconds,
  resendAfterSeconds,
  isShared = false,
  clockMs,
}: Options): Queue {
  const wakes = new EventEmitter().setMaxListeners(0)
  const marks = watermarks(clockMs)
  const others = isShared ? neighbours(db, workerId, (places) => wakes.emit('wake', places)) : null
  const numbers = new Map<string, number>()
  let claims = 0

  async function numbersOf(channels: readonly string[]): Promise<number[]> {
    if (!channels.every((channel) => numbers.has(channel))) {
      const rows = await db.query<{ name: string; number: number }>(CHANNEL_NUMBERS, [[...new Set(channels)]])
      for (const { name, number } of rows) numbers.set(name, number)
    }
    return channels.map((channel) => numbers.get(channel) ?? 0)
  }

  const nameOf = (number: number): string => [...numbers].find((entry) => entry[1] === number)?.[0] ?? ''

  return {
    async claim(place, limit, { asStarted = false } = {}) {
      const [number] = await numbersOf([place.channel])
      const order = orderOf(++claims)
      const leaseId = nextId()
      const askedAtMs = performance.now()
      const rows = await db.query<ClaimedRow>(CLAIM, [
        number,
        LANES[place.lane],
        order,
        limit,
        workerId,
        order.map((priority) => marks.since(place, priority)),
        leaseId,
        leaseSeconds,
        asStarted,
      ])
      marks.note(place, rows)
      if (rows.length === 0) return null
      const deliveries = rows.map(toClaimed)
      return { leaseId, ...place, deliveries, isStarted: asStarted, askedAtMs, hasMore: rows.length === limit }
    },

    async due(places) {
      const channels = await numbersOf(places.map(({ channel }) => channel))
      const looked = places.flatMap((place, index) =>
        Object.values(PRIORITIES).map((priority) => ({ place, priority, channel: channels[index] })),
      )
      const rows = await db.query<{ channel: number; lane: number }>(DUE, [
        looked.map(({ channel }) => channel),
        looked.map(({ place }) => LANES[place.lane]),
        looked.map(({ priority }) => priority),
        looked.map(({ place, priority }) => marks.since(place, priority)),
      ])
      return rows.map(({ channel, lane }) => ({ channel: nameOf(channel), lane: laneOf(lane) }))
    },

    async start(leaseId, ids) {
      const rows = await db.query<{ id: string }>(START, [leaseId, ids, nextId(), leaseSeconds])
      return rows.map((row) => row.id)
    },

    async finish(leaseId, results) {
      const rows = await db.query<{ id: string }>(FINISH, [leaseId, resultRows(results)])
      return rows.map((row) => row.id)
    },

    async release(leaseId, notBegun = []) {
      await db.query(RELEASE, [leaseId, notBegun])
      marks.forget()
    },

    async renew(leaseId) {
      const rows = await db.query(RENEW, [leaseId, leaseSeconds])
      return rows.length > 0
    },

    async recover(policies) {
      const resend = Object.keys(policies).filter((channel) => policies[channel]?.onUncertain === 'resend')
      const [recovery] = await db.query<Recovery>(RECOVER, [
        resend,
        MAX_CRASHES,
        resendAfterSeconds ?? RESEND_AFTER_SECONDS,
      ])
      const result = recovery ?? { returned: 0, resent: 0, held: 0, failed: 0 }
      if (result.returned > 0) {
        marks.forget()
        wakes.emit('wake', null)
      }
      return result
    },

    onWake(callback) {
      others?.listen()
      wakes.on('wake', callback)
      return () => wakes.off('wake', callback)
    },

    wake(places) {
      wakes.emit('wake', places ?? null)
      others?.tell(places ?? null)
    },

    async check() {
      await db.query('select 1 from ready limit 1')
    },

    async close() {
      wakes.removeAllListeners()
      await others?.close()
    },
  }
}

type ClaimedRow = ClaimedDelivery & { run_at: string; priority: number }

const toClaimed = ({ run_at: _runAt, priority: _priority, ...delivery }: ClaimedRow): ClaimedDelivery => delivery

/** Urgent work first; but now and then the others have their turn first, so that none waits for ever. */
function orderOf(claim: number): number[] {
  if (claim % 13 === 0) return [PRIORITIES.low, PRIORITIES.high, PRIORITIES.normal]
  if (claim % 5 === 0) return [PRIORITIES.normal, PRIORITIES.high, PRIORITIES.low]
  return [PRIORITIES.high, PRIORITIES.normal, PRIORITIES.low]
}
