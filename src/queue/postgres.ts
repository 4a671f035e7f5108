import { EventEmitter } from 'node:events'
import { performance } from 'node:perf_hooks'
import { MAX_CRASHES } from '../core/delivery-life.ts'
import { LANES, PRIORITIES } from '../core/event.ts'
import type { Db } from '../db/db.ts'
import type { Claim, ClaimedDelivery, ClaimOptions, Place, Queue, Recovery, Result } from './queue.ts'
import { neighbours } from './neighbours.ts'
import { CHANNEL_NUMBERS, CLAIM, DUE } from './postgres-claim.ts'
import { FINISH, FINISH_AND_CLAIM, FINISH_SENT, FINISH_SENT_AND_CLAIM } from './postgres-finish.ts'
import { RECOVER, RELEASE, RENEW, START } from './postgres-statements.ts'
import { resultRows, sentColumns } from './result-rows.ts'
import { turns, type Span, type Taken } from './turns.ts'

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
  resendAfterSeconds,
  isShared = false,
  clockMs,
}: Options): Queue {
  const wakes = new EventEmitter().setMaxListeners(0)
  const turn = turns(clockMs)
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

  /** The parameters of a claim, and what to make of its answer. */
  async function prepareClaim(place: Place, limit: number, { asStarted = false }: ClaimOptions) {
    const [number] = await numbersOf([place.channel])
    const spans = turn.spans(place, orderOf(++claims), limit)
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
        const taken = (rows[0]?.took ?? []).map(([priority, flow, count, last]) => ({ priority, flow, count, last }))
        const hasMore = turn.note(place, spans, limit, taken)
        const deliveries = claimedOf(rows)
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
      void db.query(RELEASE, [leaseId, null]).catch(() => {})
      throw error
    }
  }

  return {
    async claim(place, limit, options = {}) {
      const claim = await prepareClaim(place, limit, options)
      return claim.read(await heard(claim.leaseId, db.query<ClaimedRow>(CLAIM, claim.params)))
    },

    async due(places) {
      const channels = await numbersOf(places.map(({ channel }) => channel))
      const looked = places.flatMap((place, index) =>
        turn.all(place).map((span) => ({ span, lane: LANES[place.lane], channel: channels[index] })),
      )
      const rows = await db.query<{ channel: number; lane: number }>(DUE, [
        looked.map(({ channel }) => channel),
        looked.map(({ lane }) => lane),
        ...columnsOf(looked.map(({ span }) => span)),
      ])
      const isDue = new Set(rows.map(({ channel, lane }) => `${channel} ${lane}`))
      return places.filter((place, index) => {
        if (isDue.has(`${channels[index]} ${LANES[place.lane]}`)) return true
        turn.swept(place)
        return false
      })
    },

    async start(leaseId, ids) {
      const rows = await db.query<{ id: string }>(START, [leaseId, ids, nextId(), leaseSeconds])
      return rows.map((row) => row.id)
    },

    async finish(leaseId, results) {
      const { isSent, params } = finishOf(leaseId, results)
      const [row] = await db.query<{ recorded: string[] | null }>(isSent ? FINISH_SENT : FINISH, params)
      return recordedOf(results, row)
    },

    async finishAndClaim(leaseId, results, next) {
      const { isSent, params } = finishOf(leaseId, results)
      const claim = await prepareClaim(next.place, next.limit, next.options)
      const sql = isSent ? FINISH_SENT_AND_CLAIM : FINISH_AND_CLAIM
      const rows = await heard(claim.leaseId, db.query<ClaimedRow>(sql, [...params, ...claim.params]))
      return { recorded: recordedOf(results, rows[0]), claim: claim.read(rows) }
    },

    async release(leaseId, notBegun = []) {
      await db.query(RELEASE, [leaseId, notBegun])
      turn.forget()
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
      await db.query('select 1 from ready limit 1')
    },

    async close() {
      wakes.removeAllListeners()
      await others?.close()
    },
  }
}

type TookRow = [Taken['priority'], Taken['flow'], Taken['count'], Taken['last']]

/** All columns but the last two are null where nothing was claimed. */
type ClaimedRow = Omit<ClaimedDelivery, 'event'> & {
  event: ClaimedDelivery['event'] | null
  took: TookRow[] | null
  recorded: string[] | null
}

function claimedOf(rows: readonly ClaimedRow[]): ClaimedDelivery[] {
  const deliveries: ClaimedDelivery[] = []
  let shared: ClaimedDelivery['event'] | null = null
  for (const row of rows) {
    shared = row.event ?? shared
    if (shared === null) continue
    deliveries.push({
      id: row.id,
      company_id: row.company_id,
      user_id: row.user_id,
      channel: row.channel,
      notification_id: row.notification_id,
      attempt: row.attempt,
      crashes: row.crashes,
      is_expired: row.is_expired,
      is_cancelled: row.is_cancelled,
      is_superseded: row.is_superseded,
      is_ordered: row.is_ordered,
      vars: row.vars,
      pinned_template_id: row.pinned_template_id,
      event: shared,
      event_row_id: row.event_row_id,
      event_type_id: row.event_type_id,
    })
  }
  return deliveries
}

function finishOf(leaseId: string, results: readonly Result[]): { isSent: boolean; params: unknown[] } {
  const [least, most] = boundsOf(results.map(({ id }) => id))
  const sent = sentColumns(results)
  return { isSent: sent !== null, params: [leaseId, least, most, ...(sent ?? [resultRows(results)])] }
}

/** The least and the greatest of ids, which are decimal numbers. */
function boundsOf(ids: readonly string[]): [least: string, most: string] {
  let [least, most] = [ids[0] ?? '0', ids[0] ?? '0']
  for (const id of ids) {
    if (isLess(id, least)) least = id
    if (isLess(most, id)) most = id
  }
  return [least, most]
}

const isLess = (a: string, b: string): boolean => (a.length === b.length ? a < b : a.length < b.length)

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
function orderOf(claim: number): number[] {
  if (claim % 13 === 0) return [PRIORITIES.low, PRIORITIES.high, PRIORITIES.normal]
  if (claim % 5 === 0) return [PRIORITIES.normal, PRIORITIES.high, PRIORITIES.low]
  return [PRIORITIES.high, PRIORITIES.normal, PRIORITIES.low]
}
