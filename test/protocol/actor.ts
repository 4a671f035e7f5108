import { afterSilence } from '../../src/core/delivery-life.ts'
import type { Claim, NextClaim, Place, Queue, Result } from '../../src/queue/queue.ts'
import type { Line } from './open-queue.ts'
import type { Answer, World } from './world.ts'
import { CHANNELS, LEASE_SECONDS, type ChannelName } from './model.ts'

/** A claim as its worker sees it, whatever became of the lease meanwhile. */
export type HeldClaim = {
  leaseId: string
  isStarted: boolean
  /** As far as it knows. */
  heldUntilMs: number
  deliveries: Map<string, { channel: ChannelName; crashes: number; isExpired: boolean; isCancelled: boolean }>
  /** It may be sent: the queue said so, or it may safely be repeated. */
  mayBeSent: Set<string>
  answers: Map<string, Answer>
  /** Those with results that were recorded, or refused. */
  over: Set<string>
}

/**
 * A worker that keeps the rules of the protocol and knows only what it was told: it may be slow, repeat itself, and go on
 * after a pause in which its leases were taken over.
 */
export type Actor = ReturnType<typeof newActor>

export function newActor(queue: Queue, world: World, nowMs: () => number, line?: Line) {
  const claims: HeldClaim[] = []
  const told: { leaseId: string; results: Result[] }[] = []

  return {
    queue,
    line,
    claims,
    /** What it tried to record before. */
    told,

    async claim(place: Place, limit: number, asStarted: boolean): Promise<Claim | null> {
      const claim = await queue.claim(place, limit, { asStarted })
      if (claim) claims.push(heldClaim(claim, nowMs() + LEASE_SECONDS * 1000))
      return claim
    },

    /** Records results and claims more, in one commit. */
    async finishAndClaim(
      held: HeldClaim,
      ids: readonly string[],
      draw: number,
      next: NextClaim,
    ): Promise<{ results: Result[]; recorded: string[]; claim: Claim | null }> {
      const results = ids.map((id) => resultOf(held, id, draw))
      told.push({ leaseId: held.leaseId, results })
      const options = { isLast: ids.length === open(held).length }
      const { recorded, claim } = await queue.finishAndClaim(held.leaseId, results, next, options)
      for (const id of ids) held.over.add(id)
      if (claim) claims.push(heldClaim(claim, nowMs() + LEASE_SECONDS * 1000))
      return { results, recorded, claim }
    },

    /** A claim that was taken as started needs no note: it only may not be over. */
    async start(claim: HeldClaim, ids: string[]): Promise<string[]> {
      const isSure = claim.isStarted && (nowMs() < claim.heldUntilMs || (await this.renew(claim)))
      const allowed = claim.isStarted ? (isSure ? ids : []) : await queue.start(claim.leaseId, ids)
      for (const id of allowed) claim.mayBeSent.add(id)
      const refused = ids.filter((id) => !allowed.includes(id))
      if (refused.length === 0) return allowed
      // Either they were cancelled, or they are somebody else's by now.
      const isHeld = !claim.isStarted && (await this.renew(claim))
      for (const id of refused) {
        if (isHeld) claim.deliveries.get(id)!.isCancelled = true
        else claim.over.add(id)
      }
      return allowed
    },

    send(claim: HeldClaim, id: string, answer: Answer): void {
      claim.answers.set(id, answer)
      const { channel } = claim.deliveries.get(id)!
      const isOneByKey = channel === 'repeatable'
      if (!isOneByKey && answer.startsWith('accepted')) world.arrive(id, CHANNELS[channel].onUncertain === 'hold')
    },

    /** `draw` decides what is said of deliveries that were not sent. */
    async finish(
      claim: HeldClaim,
      ids: readonly string[],
      draw: number,
    ): Promise<{ results: Result[]; recorded: string[] }> {
      const results = ids.map((id) => resultOf(claim, id, draw))
      told.push({ leaseId: claim.leaseId, results })
      const recorded = await queue.finish(claim.leaseId, results, { isLast: ids.length === open(claim).length })
      for (const id of ids) claim.over.add(id)
      return { results, recorded }
    },

    async renew(claim: HeldClaim): Promise<boolean> {
      const heldUntilMs = nowMs() + LEASE_SECONDS * 1000
      const isHeld = await queue.renew(claim.leaseId)
      if (isHeld) claim.heldUntilMs = heldUntilMs
      return isHeld
    },

    async release(claim: HeldClaim): Promise<void> {
      await queue.release(claim.leaseId, notBegun(claim))
      this.forget(claim)
    },

    forget(claim: HeldClaim): void {
      claims.splice(claims.indexOf(claim), 1)
    },

    die(): void {
      claims.length = 0
      told.length = 0
    },
  }
}

/** What only the worker of a claim knows, where it was taken as started or the answer to a note was lost. */
export const notBegun = ({ deliveries, mayBeSent }: HeldClaim): string[] =>
  [...deliveries.keys()].filter((id) => !mayBeSent.has(id))

/** Deliveries of a claim that it has not asked about yet. */
export const startable = (claim: HeldClaim): string[] => open(claim).filter((id) => !claim.mayBeSent.has(id))

/** Deliveries of a claim that can be sent now, as far as its worker knows. */
export const sendable = ({ mayBeSent, answers, over }: HeldClaim): string[] =>
  [...mayBeSent].filter((id) => !answers.has(id) && !over.has(id))

/** Deliveries of a claim that were sent, and whose worker has not told yet what came of it. */
export const answered = (claim: HeldClaim): string[] => open(claim).filter((id) => claim.answers.has(id))

/** Deliveries of a claim whose results its worker has not told yet. */
export const open = ({ deliveries, over }: HeldClaim): string[] => [...deliveries.keys()].filter((id) => !over.has(id))

const heldClaim = ({ leaseId, isStarted, deliveries }: Claim, heldUntilMs: number): HeldClaim => ({
  leaseId,
  isStarted,
  heldUntilMs,
  deliveries: new Map(
    deliveries.map(({ id, channel, crashes, is_expired: isExpired, is_cancelled: isCancelled }) => [
      id,
      { channel: channel as ChannelName, crashes, isExpired, isCancelled },
    ]),
  ),
  mayBeSent: new Set(deliveries.filter(({ channel }) => channel === 'repeatable').map(({ id }) => id)),
  answers: new Map(),
  over: new Set(),
})

function resultOf(claim: HeldClaim, id: string, draw: number): Result {
  const { channel, crashes, isExpired, isCancelled } = claim.deliveries.get(id)!
  switch (claim.answers.get(id)) {
    case 'accepted':
      return { id, state: 'sent', providerId: `<${id}>` }
    case 'accepted in silence':
    case 'lost in silence': {
      const reason = 'no answer'
      return afterSilence(crashes, CHANNELS[channel].onUncertain) === 'retry'
        ? { id, state: 'retry', verdict: 'uncertain', reason, afterSeconds: 300 }
        : { id, state: 'uncertain', reason }
    }
    case 'busy':
      return draw % 3 === 0
        ? { id, state: 'failed', verdict: 'retry', reason: 'busy for too long' }
        : { id, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: draw }
    case 'refused':
      return { id, state: 'failed', verdict: draw % 2 === 0 ? 'reject' : 'forget-address', reason: 'no such user' }
    default:
  }
  if (isCancelled) return { id, state: 'cancelled' }
  if (isExpired) return { id, state: 'expired' }
  switch (draw % 4) {
    case 0:
      return { id, state: 'skipped', reason: 'no_address' }
    case 1:
      return { id, state: 'failed', verdict: 'reject', reason: 'no such template' }
    default:
      return { id, state: 'postponed', reason: 'the directory is away', afterSeconds: draw }
  }
}
