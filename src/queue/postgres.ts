import { EventEmitter } from 'node:events'
import { LANES, PRIORITIES, type Lane } from '../core/event.ts'
import { STATES } from '../core/delivery.ts'
import type { Db } from '../db/db.ts'
import type { ClaimedDelivery, Queue, Recovery, Result } from './queue.ts'
import { neighbours } from './neighbours.ts'
import { CLAIM, FINISH, RECOVER, RELEASE, RENEW, START } from './postgres-statements.ts'

/** A delivery that ended this many workers while it was being sent is not tried again. */
const MAX_CRASHES = 3
/** Long enough for the other side to have shown the first copy to a person who may cancel. */
const RESEND_AFTER_SECONDS = 300
/** A row may become visible this much after a later one: how far behind the last claim the next one looks. */
const WATERMARK_SLACK_MS = 2000
/** How often a claim looks at everything, whatever the watermark. */
const FULL_SWEEP_MS = 5000

type Options = {
  db: Db
  nextId: () => string
  workerId: string
  leaseSeconds: number
  resendAfterSeconds?: number
  /** Other processes use the same queue: they are told of new work, and tell of theirs. */
  isShared?: boolean
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
}: Options): Queue {
  const wakes = new EventEmitter().setMaxListeners(0)
  const marks = watermarks()
  const others = isShared ? neighbours(db, workerId, () => wakes.emit('wake')) : null
  let claims = 0

  return {
    async claim(lane, limit) {
      const order = orderOf(++claims)
      const leaseId = nextId()
      const rows = await db.query<ClaimedRow>(CLAIM, [
        LANES[lane],
        order,
        limit,
        workerId,
        order.map((priority) => marks.since(lane, priority)),
        leaseId,
        leaseSeconds,
      ])
      marks.note(lane, rows)
      return rows.length === 0 ? null : { leaseId, lane, deliveries: rows.map(toClaimed) }
    },

    async start(leaseId, ids) {
      const rows = await db.query<{ id: string }>(START, [leaseId, ids, nextId(), leaseSeconds])
      return rows.map((row) => row.id)
    },

    async finish(leaseId, results) {
      const rows = await db.query<{ id: string }>(FINISH, [leaseId, JSON.stringify(results.map(toRow), keepable)])
      return rows.map((row) => row.id)
    },

    async release(leaseId) {
      await db.query(RELEASE, [leaseId])
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
        wakes.emit('wake')
      }
      return result
    },

    onWake(callback) {
      others?.listen()
      wakes.on('wake', callback)
      return () => wakes.off('wake', callback)
    },

    wake() {
      wakes.emit('wake')
      others?.tell()
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

const keyOf = (lane: Lane, priority: number): string => `${lane}:${priority}`

/** Urgent work first; but now and then the others have their turn first, so that none waits for ever. */
function orderOf(claim: number): number[] {
  if (claim % 13 === 0) return [PRIORITIES.low, PRIORITIES.high, PRIORITIES.normal]
  if (claim % 5 === 0) return [PRIORITIES.normal, PRIORITIES.high, PRIORITIES.low]
  return [PRIORITIES.high, PRIORITIES.normal, PRIORITIES.low]
}

/**
 * Where claims start looking in each lane and priority, so that they need not step over rows that are gone but that
 * vacuum has not removed yet: with a long transaction open elsewhere these would be all rows ever claimed.
 */
function watermarks() {
  const marks = new Map<string, { since: string; sweptAt: number }>()

  return {
    since(lane: Lane, priority: number): string {
      const mark = marks.get(keyOf(lane, priority))
      return mark && Date.now() - mark.sweptAt < FULL_SWEEP_MS ? mark.since : '-infinity'
    },

    note(lane: Lane, rows: readonly ClaimedRow[]): void {
      // In order: the last one of each priority stays.
      for (const { priority, run_at: runAt } of rows) {
        const key = keyOf(lane, priority)
        const mark = marks.get(key)
        const isFresh = mark && Date.now() - mark.sweptAt < FULL_SWEEP_MS
        const since = new Date(Date.parse(runAt) - WATERMARK_SLACK_MS).toISOString()
        marks.set(key, { since, sweptAt: isFresh ? mark.sweptAt : Date.now() })
      }
    },

    /** Work came back with its old run_at. */
    forget: (): void => marks.clear(),
  }
}

/** What other servers say may hold what the database cannot keep. */
const keepable = (_name: string, value: unknown): unknown =>
  typeof value === 'string' ? value.replaceAll('\0', '').toWellFormed() : value

/** The columns of a result; `verdict` present means a line in the attempts log, `kind` a dead letter. */
function toRow(result: Result): Record<string, unknown> {
  const common = { id: result.id, template_id: result.templateId }
  switch (result.state) {
    case 'sent':
      return { ...common, state: STATES.sent, is_attempt: true, provider_id: result.providerId }
    case 'expired':
    case 'cancelled':
      return { ...common, state: STATES[result.state], is_attempt: false }
    case 'skipped':
      return { ...common, state: STATES.skipped, is_attempt: false, reason: result.reason }
    case 'failed': {
      const { verdict, reason } = result
      return { ...common, state: STATES.failed, is_attempt: true, reason, verdict, kind: 'failed' }
    }
    case 'uncertain':
      return {
        ...common,
        state: STATES.uncertain,
        is_attempt: true,
        reason: result.reason,
        verdict: 'uncertain',
        kind: 'uncertain',
      }
    case 'postponed': {
      const { reason, afterSeconds } = result
      return { ...common, state: STATES.ready, is_attempt: false, reason, after_seconds: afterSeconds }
    }
    default: {
      const { verdict, reason, afterSeconds } = result
      return { ...common, state: STATES.ready, is_attempt: true, reason, verdict, after_seconds: afterSeconds }
    }
  }
}
