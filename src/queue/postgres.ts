import { EventEmitter } from 'node:events'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_CRASHES } from '../core/delivery-life.ts'
import { LANES, PRIORITIES } from '../core/event.ts'
import type { Db } from '../db/db.ts'
import { claimedOf, takenOf, type ClaimedRow } from './claimed-rows.ts'
import {
  nameOf,
  type Claim,
  type ClaimOptions,
  type FinishOptions,
  type Place,
  type Queue,
  type Recovery,
  type Result,
} from './queue.ts'
import { neighbours } from './neighbours.ts'
import { CHANNEL_NUMBERS, CLAIM, DUE } from './postgres-claim.ts'
import { finishAndClaimStatement, finishStatement, type Finish } from './postgres-finish.ts'
import { RECOVER, RELEASE, RENEW, START } from './postgres-statements.ts'
import { idsOf, resultRows, sentColumns } from './result-rows.ts'
import { turns, type Span } from './turns.ts'

const RELEASE_AGAIN_MS = 500

type Options = {
  db: Db
  nextId: () => string
  workerId: string
  leaseSeconds: number
  /** Before a message that may have arrived is sent once more; at once unless said otherwise. */
  resendAfterSeconds?: number
  /** Other processes use the same queue: they are told of new work, and tell of theirs. */
  isShared?: boolean
  /** What flows are remembered by, and the time between two looks at everything. */
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
  resendAfterSeconds = 0,
  isShared = false,
  clockMs,
}: Options): Queue {
  const wakes = new EventEmitter().setMaxListeners(0)
  const turn = turns(clockMs)
  const others = isShared ? neighbours(db, workerId, (places) => wakes.emit('wake', places)) : null
  const numbers = new Map<string, number>()
  /** How many were made in each place. */
  const claims = new Map<string, number>()
  const closing = new AbortController()

  async function numbersOf(channels: readonly string[]): Promise<number[]> {
    if (!channels.every((channel) => numbers.has(channel))) {
      const rows = await db.query<{ name: string; number: number }>(CHANNEL_NUMBERS, [[...new Set(channels)]])
      for (const { name, number } of rows) numbers.set(name, number)
    }
    return channels.map((channel) => numbers.get(channel) ?? 0)
  }

  /** The parameters of a claim, and what to make of its answer. */
  async function prepareClaim(place: Place, limit: number, { asStarted = false }: ClaimOptions) {
    const [number] = await numbersOf([place.channel])
    const nth = (claims.get(nameOf(place)) ?? 0) + 1
    claims.set(nameOf(place), nth)
    const spans = turn.spans(place, orderOf(nth), limit)
    const leaseId = nextId()
    const askedAtMs = performance.now()
    return {
      leaseId,
      params: [
        number,
        LANES[place.lane],
        ...columnsOf(spans),
        spans.map(({ quota }) => quota),
        limit,
        workerId,
        leaseId,
        leaseSeconds,
        asStarted,
      ],
      read(rows: readonly ClaimedRow[]): Claim | null {
        const hasMore = turn.note(place, spans, limit, takenOf(rows))
        const deliveries = claimedOf(place, rows)
        if (deliveries.length === 0) return null
        return { leaseId, ...place, deliveries, isStarted: asStarted, askedAtMs, hasMore }
      },
    }
  }

  /** Where only the answer is lost, nobody knows what was claimed, and nobody has begun it: it must not count as begun. */
  async function heard<Row>(leaseId: string, answer: Promise<Row[]>): Promise<Row[]> {
    try {
      return await answer
    } catch (error) {
      void releaseUnheard(leaseId, null)
      throw error
    }
  }

  /** The database is mostly away just then. A lease that somebody took over meanwhile is not touched. */
  async function releaseUnheard(leaseId: string, notBegun: readonly string[] | null): Promise<void> {
    for (
      const giveUpAtMs = performance.now() + leaseSeconds * 1000;
      performance.now() < giveUpAtMs && !closing.signal.aborted;
    ) {
      try {
        await db.query(RELEASE, [leaseId, notBegun])
        turn.forget()
        return
      } catch {
        await sleep(RELEASE_AGAIN_MS, undefined, { ref: false })
      }
    }
  }

  async function finish(leaseId: string, results: Result[], { isLast = false }: FinishOptions = {}): Promise<string[]> {
    const { finish: how, params } = finishOf(leaseId, results, isLast)
    const [row] = await db.query<{ recorded: string[] | null }>(finishStatement(how), params)
    const recorded = recordedOf(results, row)
    // It holds something else, or nothing any more.
    return isLast && recorded.length === 0 ? finish(leaseId, results) : recorded
  }

  return {
    async claim(place, limit, options = {}) {
      const claim = await prepareClaim(place, limit, options)
      return claim.read(await heard(claim.leaseId, db.query<ClaimedRow>(CLAIM, claim.params)))
    },

    async due(places) {
      const channels = await numbersOf(places.map(({ channel }) => channel))
      const spans = places.map((place) => turn.all(place))
      const looked = places.flatMap(({ lane }, index) =>
        (spans[index] ?? []).map((span) => ({ span, lane: LANES[lane], channel: channels[index] })),
      )
      const rows = await db.query<{ channel: number; lane: number }>(DUE, [
        looked.map(({ channel }) => channel),
        looked.map(({ lane }) => lane),
        ...columnsOf(looked.map(({ span }) => span)),
      ])
      // Where the database was away when it was to be listened to.
      if (wakes.listenerCount('wake') > 0) others?.listen()
      const isDue = new Set(rows.map(({ channel, lane }) => `${channel} ${lane}`))
      return places.filter((place, index) => {
        if (isDue.has(`${channels[index]} ${LANES[place.lane]}`)) return true
        turn.swept(place, spans[index] ?? [])
        return false
      })
    },

    async start(leaseId, ids) {
      const rows = await db.query<{ id: string }>(START, [leaseId, ids, nextId(), leaseSeconds])
      return rows.map((row) => row.id)
    },

    finish,

    async finishAndClaim(leaseId, results, next, { isLast = false } = {}) {
      const { finish: how, params } = finishOf(leaseId, results, isLast)
      const claim = await prepareClaim(next.place, next.limit, next.options)
      const asked = db.query<ClaimedRow>(finishAndClaimStatement(how), [...params, ...claim.params])
      const rows = await heard(claim.leaseId, asked)
      let recorded = recordedOf(results, rows[0])
      if (isLast && recorded.length === 0) recorded = await heard(claim.leaseId, finish(leaseId, results))
      return { recorded, claim: claim.read(rows) }
    },

    async release(leaseId, notBegun = []) {
      await db.query(RELEASE, [leaseId, notBegun])
      turn.forget()
    },

    releaseUnheard: (leaseId, notBegun) => void releaseUnheard(leaseId, notBegun),

    async renew(leaseId) {
      const rows = await db.query(RENEW, [leaseId, leaseSeconds])
      return rows.length > 0
    },

    async recover(policies) {
      const resend = Object.keys(policies).filter((channel) => policies[channel]?.onUncertain === 'resend')
      const [recovery] = await db.query<Recovery>(RECOVER, [resend, MAX_CRASHES, resendAfterSeconds])
      const result = recovery ?? { returned: 0, resent: 0, held: 0, failed: 0 }
      if (result.returned > 0) {
        turn.forget()
        wakes.emit('wake', null)
      }
      return result
    },

    onWake(callback) {
      others?.listen()
      wakes.on('wake', callback)
      return () => wakes.off('wake', callback)
    },

    notice: (places) => others?.notice(places) ?? null,

    wake(places, areOthersTold = false) {
      wakes.emit('wake', places ?? null)
      if (areOthersTold) return
      others?.tell(places ?? null)
    },

    async check() {
      await db.query('select from ready limit 0') // whatever it holds, and held
    },

    async close() {
      closing.abort()
      wakes.removeAllListeners()
      await others?.close()
    },
  }
}

/** How to record results, and the parameters of the statement that does. */
function finishOf(leaseId: string, results: readonly Result[], isLast: boolean): { finish: Finish; params: unknown[] } {
  const sent = sentColumns(results)
  return {
    finish: { isSent: sent !== null, isLast },
    params: [leaseId, idsOf(results), ...(sent ?? [resultRows(results)])],
  }
}

/** Null: all of them. */
const recordedOf = (results: readonly Result[], row: { recorded: string[] | null } | undefined): string[] =>
  row?.recorded ?? results.map(({ id }) => id)

const columnsOf = (spans: readonly Span[]): unknown[] => [
  spans.map(({ priority }) => priority),
  spans.map(({ from }) => from),
  spans.map(({ to }) => to),
  spans.map(({ since }) => since),
]

/** Urgent work first; but now and then the others have their turn first, so that none waits for ever. */
function orderOf(nth: number): number[] {
  if (nth % 13 === 0) return [PRIORITIES.low, PRIORITIES.high, PRIORITIES.normal]
  if (nth % 5 === 0) return [PRIORITIES.normal, PRIORITIES.high, PRIORITIES.low]
  return [PRIORITIES.high, PRIORITIES.normal, PRIORITIES.low]
}
