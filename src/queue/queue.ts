import type { Event, Lane } from '../core/event.ts'
import type { JsonObject } from '../core/json.ts'
import type { Verdict } from '../core/errors.ts'

/** A delivery that a worker holds under a lease, with what it needs to be sent. */
export type ClaimedDelivery = {
  id: string
  company_id: string
  user_id: string
  channel: string
  lane: Lane
  notification_id: string
  /** Finished attempts before this one, since a person last sent it again. */
  attempt: number
  /** Attempts whose outcome nobody could know: the worker died, or the other side fell silent at the end. */
  crashes: number
  /** Its time was over when it was claimed. */
  is_expired: boolean
  /** Its event was cancelled before it was claimed. */
  is_cancelled: boolean
  /** A later event of its collapse key had taken its place before it was claimed. */
  is_superseded: boolean
  /** Others wait for its end: it is in a thread. */
  is_ordered: boolean
  /** The worker that tried to send it last died, of it or of what it sent beside it. */
  is_suspect: boolean
  vars: JsonObject | null
  /** The template version to render from, whatever is current: a dead letter that is sent again as it was. */
  pinned_template_id: string | null
  event: Event
  event_row_id: string
  /** Version of the event type that planned it. */
  event_type_id: string
  /** Where its notification stands in the inbox, where the claim knows that already. */
  place?: { id: string; seq: string; shown_at: string }
}

/** Where a delivery waits: each place is worked by itself, so that no channel and no lane waits for another. */
export type Place = { channel: string; lane: Lane }

export const nameOf = ({ channel, lane }: Place): string => `${channel} ${lane}`

export type Claim = Place & {
  leaseId: string
  deliveries: ClaimedDelivery[]
  /** Everything in it counts as begun: nothing need be noted before it is sent. */
  isStarted: boolean
  /** When the lease was asked for, by `performance.now()`: it lasts at least its seconds from then. */
  askedAtMs: number
  /** There may be more due in the same place. */
  hasMore: boolean
}

export type ClaimOptions = {
  /** Should the worker die, all of it may have been sent. For channels that resend then: it saves `start`. */
  asStarted?: boolean
}

export type FinishOptions = {
  /** Nothing else is open under the lease, as far as the worker knows: that is quicker to record, and no promise. */
  isLast?: boolean
}

/** What to claim in the same breath. */
export type NextClaim = { place: Place; limit: number; options: ClaimOptions }

/**
 * The instant lane: what a process accepts for somebody in particular, it may claim as it stores it, and send at once.
 * Slots of a channel are reserved before the statement and given back by `release`, or by the end of the claim that `run`
 * takes. The inbox needs none: `show` takes its claims even while every slot waits for a mail server.
 */
export type InstantLane = {
  reserve: (channel: string, count: number) => boolean
  release: (channel: string, count: number) => void
  newLease: () => { leaseId: string; workerId: string; leaseSeconds: number }
  run: (claim: Claim) => void
  /** Leases of this channel are taken as started. */
  isStarted: (channel: string) => boolean
  /** False: this process sends nothing over this channel. */
  canShow: (channel: string) => boolean
  show: (claim: Claim) => void
}

/** How many deliveries may be claimed now; `retryAfterMs`, where that is none: when to ask again. */
export type Grant = { count: number; retryAfterMs?: number }

/** Asked before deliveries of a channel are claimed, so that what has to wait for a provider's limit waits in the queue. */
export type Throttle = {
  /** False: nobody need ask for this channel. */
  limits(channel: string): boolean
  grant(wanted: Place & { count: number }): Promise<Grant>
  /** The same without waiting for anybody, for the instant lane. False: it goes through the queue. */
  grantNow(wanted: Place & { count: number }): boolean
  /** Granted and not used. */
  giveBack(unused: Place & { count: number }): void
}

/** What became of one claimed delivery. */
export type Result = { id: string; templateId?: string } & (
  | { state: 'sent'; providerId?: string }
  | { state: 'expired' | 'cancelled' }
  | { state: 'skipped'; reason: string }
  /** Used up or refused: a dead letter. */
  | { state: 'failed'; verdict: Verdict; reason: string }
  /** Nobody can know; a person decides. */
  | { state: 'uncertain'; reason: string }
  /** Could not be tried now, through no fault of its own: that was no attempt. */
  | { state: 'postponed'; reason: string; afterSeconds: number }
  | { state: 'retry'; verdict: Verdict; reason: string; afterSeconds: number }
)

/** What becomes of deliveries whose worker died while sending them, by channel. */
export type UncertainPolicies = Record<string, { onUncertain: 'resend' | 'hold' }>

/** What a sweep of ended leases did, in deliveries. */
export type Recovery = {
  /** Given back untouched: their sending had not begun. */
  returned: number
  /** May have been sent, and will be sent once more. */
  resent: number
  /** May have been sent, and wait for a person. */
  held: number
  /** Ended too many workers to be tried again. */
  failed: number
}

/** https://www.postgresql.org/docs/current/sql-notify.html */
export type Notice = { channel: string; payload: string }

/**
 * Hands out due deliveries and records what became of them. Every adapter passes `queue.contract.ts`. Time is the
 * database's time. All methods may be called from any number of processes.
 */
export type Queue = {
  /** Up to `limit` due deliveries of one place, most urgent first, under one lease; null when nothing is due. */
  claim(place: Place, limit: number, options?: ClaimOptions): Promise<Claim | null>
  /** Those of the places in which something is due. */
  due(places: readonly Place[]): Promise<Place[]>
  /**
   * Notes that these claimed deliveries are about to be sent, before any network I/O. Returns those that may be: the
   * others were cancelled or superseded meanwhile. Empty when the lease is over.
   */
  start(leaseId: string, ids: string[]): Promise<string[]>
  /** Records results, each once. Returns the ids that were recorded; none when the lease is over. The last one ends it. */
  finish(leaseId: string, results: Result[], options?: FinishOptions): Promise<string[]>
  /**
   * `finish` and `claim` in one commit. Should it fail, or its answer be lost, the results are to be recorded
   * again, by either; what it may have claimed goes back.
   */
  finishAndClaim(
    leaseId: string,
    results: Result[],
    next: NextClaim,
    options?: FinishOptions,
  ): Promise<{ recorded: string[]; claim: Claim | null }>
  /**
   * Ends the lease. What is neither finished nor started goes back at once, and so does `notBegun`: only the worker knows
   * what it began of a lease that was taken as started, and of what it noted without hearing the answer.
   */
  release(leaseId: string, notBegun?: readonly string[]): Promise<void>
  /** The same for what was claimed as far as anybody knows, as nobody heard the answer; tried until the lease is over. */
  releaseUnheard(leaseId: string, notBegun: readonly string[]): void
  /** Prolongs the lease; false when it is over already. */
  renew(leaseId: string): Promise<boolean>
  /** Takes over what dead workers held: returns it to the queue, or treats it by its channel's policy. */
  recover(policies: UncertainPolicies): Promise<Recovery>
  /**
   * Calls back when work may be due sooner than a poll would find it: in these places, or somewhere (null). Returns the
   * function that stops it.
   */
  onWake(callback: (places: readonly Place[] | null) => void): () => void
  /** Tells this and other processes that work was added in these places, or somewhere. Call after the commit. */
  wake(places?: readonly Place[], areOthersTold?: boolean): void
  /**
   * What the statement that adds work to these places may NOTIFY itself, so that other processes hear of it with its commit.
   * Null: there are none, or so much is told that a statement of its own, for many at once, is better: `wake` does that.
   */
  notice(places: readonly Place[]): Notice | null
  /** Rejects when the queue cannot be used now. */
  check(): Promise<void>
  close(): Promise<void>
}
