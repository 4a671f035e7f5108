import { performance } from 'node:perf_hooks'
import { LANES, type Event } from '../core/event.ts'
import type { Claim, ClaimedDelivery, InstantLane, Place } from '../queue/queue.ts'
import type { StoredEvents } from './accept-events.ts'
import { placesOf, type EventRows, type Instant } from './event-rows.ts'

/** A person's own event is sent at once by the process that took it; a list of people goes through the queue. */
const MAX_INSTANT_DELIVERIES = 100
/** Whether it is over already is for the database's clock to say, at the claim. */
const EXPIRES_SOON_MS = 10_000

/** Of a process that sends nothing: what it accepts goes through the queue. */
export const NO_INSTANT_LANE: Omit<InstantLane, 'newLease'> = {
  reserve: () => false,
  release: () => {},
  run: () => {},
  isStarted: () => false,
  canShow: () => false,
  show: () => {},
}

/** What this process may send as soon as it is stored, under one lease for each channel. */
export type InstantClaims = {
  /** For the statement that stores the events. */
  instant: Instant
  /** The same by lease. */
  leases: readonly { leaseId: string; ids: ReadonlySet<string> }[]
  /** Hands out what was stored, and returns where the rest of it waits. */
  hand(stored: readonly EventRows[], answer: StoredEvents): Place[]
  /** Nothing was stored. */
  giveUp(): void
}

type Lease = { leaseId: string; reserved: number; ids: Set<string>; isShown: boolean; isStarted: boolean }

/** Reserves slots for as much of the events as there is room for now. */
export function instantClaims(lane: InstantLane, events: readonly EventRows[]): InstantClaims {
  const leases = new Map<string, Lease>()
  const askedAtMs = performance.now()
  const { workerId, leaseSeconds } = lane.newLease()

  function leaseOf(channel: string, isShown: boolean): Lease {
    const known = leases.get(channel)
    if (known) return known
    const isStarted = lane.isStarted(channel)
    const lease: Lease = { leaseId: lane.newLease().leaseId, reserved: 0, ids: new Set(), isShown, isStarted }
    leases.set(channel, lease)
    return lease
  }

  for (const rows of events) {
    if (!isInstant(rows)) continue
    for (const [channel, deliveries] of byChannel(rows.deliveries)) {
      const isShown = deliveries.some(({ is_inbox: isInbox }) => isInbox)
      if (isShown ? !lane.canShow(channel) : !lane.reserve(channel, deliveries.length)) continue
      const lease = leaseOf(channel, isShown)
      if (!isShown) lease.reserved += deliveries.length
      for (const { id } of deliveries) lease.ids.add(id)
    }
  }

  const leased = [...leases.values()].flatMap(({ leaseId, ids, isStarted }) =>
    [...ids].map((id) => ({ id, leaseId, isStarted })),
  )
  return {
    instant: { workerId, leaseSeconds, deliveries: leased },
    leases: [...leases.values()],

    hand(stored, answer) {
      for (const [channel, { leaseId, reserved, ids, isShown, isStarted }] of leases) {
        const deliveries = stored.flatMap((rows) => claimedOf(rows, answer, ids))
        if (!isShown) lane.release(channel, reserved - deliveries.length)
        if (deliveries.length === 0) continue
        const claim: Claim = { leaseId, channel, lane: 'p2p', deliveries, isStarted, askedAtMs, hasMore: false }
        if (isShown) lane.show(claim)
        else lane.run(claim)
      }
      return placesOf(
        stored.map(({ lane, deliveries }) => ({
          lane,
          deliveries: deliveries.filter(({ id, channel }) => !leases.get(channel)?.ids.has(id)),
        })),
      )
    },

    giveUp() {
      for (const [channel, { reserved }] of leases) if (reserved > 0) lane.release(channel, reserved)
    },
  }
}

function isInstant({ lane, deliveries }: EventRows): boolean {
  if (lane !== LANES.p2p || deliveries.length === 0 || deliveries.length > MAX_INSTANT_DELIVERIES) return false
  const soon = Date.now() + EXPIRES_SOON_MS
  return deliveries.every(
    ({ send_after, expires_at, time_to_live_seconds, thread }) =>
      send_after === null &&
      // Only the statement knows whose turn it is.
      thread === null &&
      (expires_at === null || Date.parse(expires_at) > soon) &&
      (time_to_live_seconds === null || time_to_live_seconds * 1000 > EXPIRES_SOON_MS),
  )
}

function byChannel(deliveries: EventRows['deliveries']): Map<string, EventRows['deliveries']> {
  const channels = new Map<string, EventRows['deliveries']>()
  for (const delivery of deliveries) {
    const known = channels.get(delivery.channel)
    if (known) known.push(delivery)
    else channels.set(delivery.channel, [delivery])
  }
  return channels
}

/** The deliveries as a claim would have read them. */
function claimedOf(rows: EventRows, answer: StoredEvents, ids: ReadonlySet<string>): ClaimedDelivery[] {
  const claimed = rows.deliveries.filter(({ id }) => ids.has(id))
  return claimed.map(({ id, notification_id, user_id, channel }) => {
    const place = answer.placeOf(rows.id, user_id)
    return {
      id,
      company_id: rows.company_id,
      user_id,
      channel,
      lane: 'p2p',
      notification_id: place?.id ?? notification_id,
      attempt: 0,
      crashes: 0,
      is_expired: false,
      is_cancelled: false,
      is_superseded: false,
      is_ordered: false,
      is_suspect: false,
      vars: null,
      pinned_template_id: null,
      event: rows.payload as unknown as Event,
      event_row_id: rows.id,
      event_type_id: rows.event_type_id,
      ...(place && { place }),
    }
  })
}
