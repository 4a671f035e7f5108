import { EventEmitter } from 'node:events'
import type { Lane, Priority } from '../core/event.ts'
import { LANES, PRIORITIES } from '../core/event.ts'
import { STATES } from '../core/delivery.ts'
import type { Db } from '../db/db.ts'
import type { ClaimedDelivery, Queue, Recovery, Result } from './queue.ts'
import { CLAIM, FINISH, RECOVER, RELEASE, RENEW, START } from './postgres-statements.ts'

/** A delivery that ended this many workers while it was being sent is not tried again. */
const MAX_CRASHES = 3
/** Long enough for the other side to have shown the first copy to a person who may cancel. */
const RESEND_AFTER_SECONDS = 300
/** A row may become visible this much after a later one: how far behind the last claim the next one looks. */
const WATERMARK_SLACK_MS = 2000
/** How often a claim looks at everything, whatever the watermark. */
const FULL_SWEEP_MS = 5000

type Options = { db: Db; nextId: () => string; workerId: string; leaseSeconds: number; resendAfterSeconds?: number }

/**
 * The queue in the database's own tables: a claim moves rows from `ready` into one `lease` row, and only the outcome
 * touches the delivery. See docs/decisions/002-queue.md for what was measured.
 */
export function postgresQueue({ db, nextId, workerId, leaseSeconds, resendAfterSeconds }: Options): Queue {
  const wakes = new EventEmitter().setMaxListeners(0)
  const watermarks = new Map<string, { since: string; sweptAt: number }>()

  /** Where the next claim starts looking, so that it need not step over rows that vacuum has not removed yet. */
  function lookFrom(key: string): string {
    const mark = watermarks.get(key)
    return mark && Date.now() - mark.sweptAt < FULL_SWEEP_MS ? mark.since : '-infinity'
  }

  function noteClaim(key: string, from: string, lastRunAt: string | undefined): void {
    const sweptAt = from === '-infinity' ? Date.now() : (watermarks.get(key)?.sweptAt ?? Date.now())
    if (lastRunAt === undefined) watermarks.delete(key)
    else watermarks.set(key, { since: new Date(Date.parse(lastRunAt) - WATERMARK_SLACK_MS).toISOString(), sweptAt })
  }

  async function claimPriority(lane: Lane, priority: Priority, limit: number): Promise<ClaimedRow[] | null> {
    const key = `${lane}:${priority}`
    const from = lookFrom(key)
    const leaseId = nextId()
    const rows = await db.query<ClaimedRow>(CLAIM, [
      LANES[lane],
      PRIORITIES[priority],
      limit,
      workerId,
      from,
      leaseId,
      leaseSeconds,
    ])
    noteClaim(key, from, rows.at(-1)?.run_at)
    return rows.length === 0 ? null : rows.map((row) => ({ ...row, lease_id: leaseId }))
  }

  return {
    async claim(lane, limit) {
      for (const priority of ['high', 'normal', 'low'] as const) {
        const rows = await claimPriority(lane, priority, limit)
        if (rows) return { leaseId: rows[0]?.lease_id ?? '', lane, deliveries: rows.map(toClaimed) }
      }
      return null
    },

    async start(leaseId, ids) {
      const rows = await db.query<{ id: string }>(START, [leaseId, ids, nextId(), leaseSeconds])
      return rows.map((row) => row.id)
    },

    async finish(leaseId, results) {
      const rows = await db.query<{ id: string }>(FINISH, [leaseId, JSON.stringify(results.map(toRow))])
      return rows.map((row) => row.id)
    },

    async release(leaseId) {
      await db.query(RELEASE, [leaseId])
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
      if (result.returned > 0) wakes.emit('wake')
      return result
    },

    onWake(callback) {
      wakes.on('wake', callback)
      return () => wakes.off('wake', callback)
    },

    wake() {
      wakes.emit('wake')
    },

    async check() {
      await db.query('select 1 from ready limit 1')
    },

    async close() {
      wakes.removeAllListeners()
    },
  }
}

type ClaimedRow = ClaimedDelivery & { run_at: string; lease_id: string }

const toClaimed = ({ run_at: _runAt, lease_id: _leaseId, ...delivery }: ClaimedRow): ClaimedDelivery => delivery

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
    default: {
      const { verdict, reason, afterSeconds } = result
      return { ...common, state: STATES.ready, is_attempt: true, reason, verdict, after_seconds: afterSeconds }
    }
  }
}
