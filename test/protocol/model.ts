import { after, afterCrash, type ChangeName, type Life } from '../../src/core/delivery-life.ts'
import type { Lane } from '../../src/core/event.ts'
import type { Verdict } from '../../src/core/errors.ts'
import type { Place, Result } from '../../src/queue/queue.ts'

/** How each channel of these tests treats a doubt; what `repeatable` sends twice is there once. */
export const CHANNELS = {
  careful: { onUncertain: 'hold' },
  eager: { onUncertain: 'resend' },
  repeatable: { onUncertain: 'resend' },
} as const
export type ChannelName = keyof typeof CHANNELS

export const LEASE_SECONDS = 30
export const RESEND_AFTER_SECONDS = 300

/** A delivery as it must be in the books. Times are of the database. */
export type ModelDelivery = {
  id: string
  eventId: string
  channel: ChannelName
  lane: Lane
  priority: number
  life: Life
  /** Where it waits, while it does. */
  queueLane: Lane
  runAtMs: number
  expiresAtMs: number | null
  /** How many deliveries its event has was known at once: it is withdrawn at once as well. */
  isCounted: boolean
  isCancelled: boolean
  leaseId: string | null
  /** Since when it is at its stage. */
  sinceMs: number
}

type Lease = { untilMs: number; ids: Set<string> }

/** What the queue and the people around it must do, said without a database. */
export type Model = ReturnType<typeof newModel>

export function newModel(nowMs: () => number) {
  const deliveries = new Map<string, ModelDelivery>()
  const leases = new Map<string, Lease>()
  /** Deliveries whose events were cancelled, and which nobody has ended yet. */
  const withdrawals = new Set<string>()

  const of = (id: string): ModelDelivery => deliveries.get(id)!

  function change(id: string, name: ChangeName, verdict?: Verdict): ModelDelivery {
    const delivery = of(id)
    const life = after(delivery.life, name, verdict)
    if (!life) throw new Error(`"${name}" cannot happen to ${JSON.stringify(delivery)}`)
    if (life.stage !== delivery.life.stage) delivery.sinceMs = nowMs()
    delivery.life = life
    if (life.stage !== 'lease' && life.stage !== 'begun') delivery.leaseId = null
    return delivery
  }

  /** What was tried is a retry; what was not waits in its own lane. */
  function wait(delivery: ModelDelivery, seconds: number): void {
    delivery.queueLane = laneOf(delivery)
    delivery.runAtMs = Math.min(nowMs() + seconds * 1000, delivery.expiresAtMs ?? Infinity)
  }

  /** As it was, but what was tried before is a retry. */
  function giveBack(id: string, name: 'release' | 'release unbegun' | 'return'): void {
    const delivery = change(id, name)
    delivery.queueLane = laneOf(delivery)
  }

  function withdraw(id: string): number {
    if (of(id).life.stage !== 'queue') return 0
    change(id, 'cancel')
    return 1
  }

  function finishOne(result: Result): void {
    const verdict = result.state === 'uncertain' ? 'uncertain' : 'verdict' in result ? result.verdict : undefined
    const delivery = change(result.id, result.state, verdict)
    if ('afterSeconds' in result) wait(delivery, result.afterSeconds)
  }

  return {
    nowMs,
    deliveries,
    leases,
    of,

    add(
      delivery: Pick<
        ModelDelivery,
        'id' | 'eventId' | 'channel' | 'lane' | 'priority' | 'runAtMs' | 'expiresAtMs' | 'isCounted' | 'life'
      >,
    ): void {
      const rest = { queueLane: laneOf(delivery), isCancelled: false, leaseId: null, sinceMs: nowMs() }
      deliveries.set(delivery.id, { ...delivery, ...rest })
    },

    due: ({ channel, lane }: Place): ModelDelivery[] =>
      [...deliveries.values()].filter(
        (one) =>
          one.life.stage === 'queue' && one.channel === channel && one.queueLane === lane && one.runAtMs <= nowMs(),
      ),

    /** What a claim says of it. */
    essence(id: string) {
      const { life, expiresAtMs, isCancelled } = of(id)
      const { attempt, attemptsBefore, crashes } = life
      const isExpired = expiresAtMs !== null && expiresAtMs <= nowMs()
      return { id, attempt: attempt - attemptsBefore, crashes, isExpired, isCancelled }
    },

    claim(leaseId: string, ids: readonly string[], isStarted: boolean): void {
      for (const id of ids) change(id, isStarted ? 'claim as begun' : 'claim').leaseId = leaseId
      leases.set(leaseId, { untilMs: nowMs() + LEASE_SECONDS * 1000, ids: new Set(ids) })
    },

    start(leaseId: string, ids: readonly string[]): string[] {
      if (!this.renew(leaseId)) return []
      const allowed = ids.filter((id) => leases.get(leaseId)?.ids.has(id) && !of(id).isCancelled)
      for (const id of allowed) {
        if (of(id).life.stage === 'lease') change(id, 'begin')
      }
      return allowed
    },

    renew(leaseId: string): boolean {
      const lease = leases.get(leaseId)
      if (!lease) return false
      lease.untilMs = nowMs() + LEASE_SECONDS * 1000
      return true
    },

    /** Only what the lease holds; that its time is over matters to nobody before it is taken over. */
    finish(leaseId: string, results: readonly Result[]): string[] {
      const lease = leases.get(leaseId)
      const recorded = results.filter(({ id }) => lease?.ids.has(id))
      for (const result of recorded) {
        finishOne(result)
        lease?.ids.delete(result.id)
      }
      if (lease?.ids.size === 0) leases.delete(leaseId)
      return recorded.map(({ id }) => id)
    },

    release(leaseId: string, notBegun: readonly string[]): void {
      const lease = leases.get(leaseId)
      for (const id of lease?.ids ?? []) {
        const isIdle = of(id).life.stage === 'lease'
        if (!isIdle && !notBegun.includes(id)) continue
        giveBack(id, isIdle ? 'release' : 'release unbegun')
        lease?.ids.delete(id)
      }
      if (lease?.ids.size === 0) leases.delete(leaseId)
    },

    recover(): { returned: number; resent: number; held: number; failed: number } {
      const counts = { returned: 0, resent: 0, held: 0, failed: 0 }
      for (const [leaseId, lease] of leases) {
        if (lease.untilMs >= nowMs()) continue
        leases.delete(leaseId)
        for (const id of lease.ids) {
          if (of(id).life.stage === 'lease') {
            giveBack(id, 'return')
            counts.returned += 1
            continue
          }
          const consequence = afterCrash(of(id).life.crashes, CHANNELS[of(id).channel].onUncertain)
          const delivery = change(id, consequence, 'uncertain')
          if (delivery.life.stage === 'queue') {
            delivery.queueLane = 'retry'
            delivery.runAtMs = Math.min(nowMs() + RESEND_AFTER_SECONDS * 1000, delivery.expiresAtMs ?? Infinity)
            counts.resent += 1
          } else counts[delivery.life.state === 'failed' ? 'failed' : 'held'] += 1
        }
      }
      return counts
    },

    /** Nothing is sent from now on but what has begun. Returns how many waited and were ended; null: that comes later. */
    cancel(id: string): number | null {
      const delivery = of(id)
      delivery.isCancelled = true
      if (!delivery.isCounted) withdrawals.add(id)
      return delivery.isCounted ? withdraw(id) : null
    },

    withdrawAll(): number {
      const count = [...withdrawals].reduce((sum, id) => sum + withdraw(id), 0)
      withdrawals.clear()
      return count
    },

    /** A person decides about a dead letter; false where that cannot be. */
    decide(id: string, name: ChangeName): boolean {
      const delivery = of(id)
      const life = after(delivery.life, name)
      if (!life) return false
      const isTooLate = delivery.isCancelled || (delivery.expiresAtMs !== null && delivery.expiresAtMs <= nowMs())
      if (life.stage === 'queue' && isTooLate) return false
      change(id, name)
      if (life.stage === 'queue') wait(delivery, 0)
      return true
    },

    /** Dead letters that nobody dealt with for so long. */
    forget(seconds: number): number {
      const old = [...deliveries.values()].filter(
        ({ life, sinceMs }) => life.stage === 'letter' && sinceMs < nowMs() - seconds * 1000,
      )
      for (const { id, life } of old) change(id, life.state === 'failed' ? 'forget a failure' : 'give up a doubt')
      return old.length
    },
  }
}

const laneOf = ({ life, lane }: Pick<ModelDelivery, 'life' | 'lane'>): Lane => (life.attempt > 0 ? 'retry' : lane)
