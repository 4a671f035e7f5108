/** The numbers stored in `delivery.state`. Waiting and leased deliveries are both `ready`: the claim writes no delivery row. */
export const STATES = {
  ready: 0,
  sent: 2,
  failed: 4,
  cancelled: 5,
  expired: 6,
  uncertain: 9,
  skipped: 10,
} as const
export type State = keyof typeof STATES

/** The statuses of the public contract. */
export type Status =
  | 'PENDING'
  | 'SENDING'
  | 'RETRYING'
  | 'UNCERTAIN'
  | 'SENT'
  | 'FAILED'
  | 'EXPIRED'
  | 'SKIPPED'
  | 'CANCELLED'

const FINAL: Record<number, Status> = {
  [STATES.sent]: 'SENT',
  [STATES.failed]: 'FAILED',
  [STATES.cancelled]: 'CANCELLED',
  [STATES.expired]: 'EXPIRED',
  [STATES.skipped]: 'SKIPPED',
}

/** What a delivery waits for in vain: it will be found to be cancelled or superseded before it is sent. */
export type Withdrawn = 'cancelled' | 'superseded'

/** The public status of a delivery row; `leased` = a live lease holds it. */
export function statusOf({
  state,
  attempt,
  leased,
  withdrawn = null,
}: {
  state: number
  attempt: number
  leased: boolean
  withdrawn?: Withdrawn | null
}): Status {
  const final = FINAL[state]
  if (final) return final
  if (state === STATES.uncertain) return 'UNCERTAIN'
  if (leased) return 'SENDING'
  if (withdrawn) return withdrawn === 'cancelled' ? 'CANCELLED' : 'SKIPPED'
  return attempt > 0 ? 'RETRYING' : 'PENDING'
}

/** True when nothing will change the delivery any more without a person asking for it. */
export const isFinal = (state: number): boolean => state in FINAL
