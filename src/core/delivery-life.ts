import { STATES, type State } from './delivery.ts'
import type { Verdict } from './errors.ts'

/**
 * How far a delivery has come, one stage at a time: it waits in the `queue`; a worker holds it under a `lease`, and may be
 * sending it once that has `begun`; it waits for a person as a dead `letter`; or it is `settled`, for good.
 */
export type Stage = 'queue' | 'lease' | 'begun' | 'letter' | 'settled'

/** What decides what may become of a delivery. */
export type Life = {
  state: State
  stage: Stage
  /** Attempts that ended. */
  attempt: number
  /** Those before a person last sent it again. */
  attemptsBefore: number
  /** Attempts since then whose outcome nobody could know. */
  crashes: number
  /** What the attempts log says of the attempts since then; one that was accepted has no line. */
  verdicts: readonly Verdict[]
}

/** A delivery as it is planned. */
export const PLANNED: Life = {
  state: 'ready',
  stage: 'queue',
  attempt: 0,
  attemptsBefore: 0,
  crashes: 0,
  verdicts: [],
}

/** A delivery that ended this many workers while it was being sent is not tried again. */
export const MAX_CRASHES = 3

/** `by` whom, from which state and stages, to which state and stage; `attempt`: it ends one, `accepted` or with a verdict. */
export type Change = {
  by: 'worker' | 'recovery' | 'caller' | 'person' | 'retention'
  from: { state: State; stages: readonly Stage[] }
  to: { state: State; stage: Stage }
  attempt?: 'accepted' | readonly Verdict[]
}

const waiting = { state: 'ready', stages: ['queue'] } as const
const idle = { state: 'ready', stages: ['lease'] } as const
const begun = { state: 'ready', stages: ['begun'] } as const
/** What may safely be repeated is sent without a note that it has begun. */
const held = { state: 'ready', stages: ['lease', 'begun'] } as const
const failed = { state: 'failed', stages: ['letter'] } as const
const doubtful = { state: 'uncertain', stages: ['letter'] } as const

/** Everything that can happen to a delivery. Those that end in `settled` are the last. */
export const CHANGES = {
  claim: { by: 'worker', from: waiting, to: { state: 'ready', stage: 'lease' } },
  'claim as begun': { by: 'worker', from: waiting, to: { state: 'ready', stage: 'begun' } },
  begin: { by: 'worker', from: idle, to: { state: 'ready', stage: 'begun' } },
  release: { by: 'worker', from: idle, to: { state: 'ready', stage: 'queue' } },
  // Claimed or noted as begun, and only the worker knows that it was not.
  'release unbegun': { by: 'worker', from: begun, to: { state: 'ready', stage: 'queue' } },

  // The results that a worker records have the names of `Result` (queue/queue.ts).
  sent: { by: 'worker', from: held, to: { state: 'sent', stage: 'settled' }, attempt: 'accepted' },
  expired: { by: 'worker', from: held, to: { state: 'expired', stage: 'settled' } },
  cancelled: { by: 'worker', from: held, to: { state: 'cancelled', stage: 'settled' } },
  skipped: { by: 'worker', from: held, to: { state: 'skipped', stage: 'settled' } },
  postponed: { by: 'worker', from: held, to: { state: 'ready', stage: 'queue' } },
  retry: { by: 'worker', from: held, to: { state: 'ready', stage: 'queue' }, attempt: ['retry', 'uncertain'] },
  failed: {
    by: 'worker',
    from: held,
    to: { state: 'failed', stage: 'letter' },
    attempt: ['retry', 'reject', 'forget-address'],
  },
  uncertain: { by: 'worker', from: held, to: { state: 'uncertain', stage: 'letter' }, attempt: ['uncertain'] },

  // The worker died: what it had not begun goes back, what it had is judged by `afterCrash`.
  return: { by: 'recovery', from: idle, to: { state: 'ready', stage: 'queue' } },
  'resend after a crash': {
    by: 'recovery',
    from: begun,
    to: { state: 'ready', stage: 'queue' },
    attempt: ['uncertain'],
  },
  'hold after a crash': {
    by: 'recovery',
    from: begun,
    to: { state: 'uncertain', stage: 'letter' },
    attempt: ['uncertain'],
  },
  'fail after a crash': {
    by: 'recovery',
    from: begun,
    to: { state: 'failed', stage: 'letter' },
    attempt: ['uncertain'],
  },

  // What a worker holds is refused to it when it wants to begin, and ends as `cancelled`.
  cancel: { by: 'caller', from: waiting, to: { state: 'cancelled', stage: 'settled' } },
  supersede: { by: 'caller', from: waiting, to: { state: 'skipped', stage: 'settled' } },

  'send again': { by: 'person', from: failed, to: { state: 'ready', stage: 'queue' } },
  discard: { by: 'person', from: failed, to: { state: 'failed', stage: 'settled' } },
  'send in spite of doubt': { by: 'person', from: doubtful, to: { state: 'ready', stage: 'queue' } },
  'settle as sent': { by: 'person', from: doubtful, to: { state: 'sent', stage: 'settled' } },
  'settle as failed': { by: 'person', from: doubtful, to: { state: 'failed', stage: 'settled' } },

  'forget a failure': { by: 'retention', from: failed, to: { state: 'failed', stage: 'settled' } },
  'give up a doubt': { by: 'retention', from: doubtful, to: { state: 'failed', stage: 'settled' } },
} as const satisfies Record<string, Change>
export type ChangeName = keyof typeof CHANGES

/** The delivery after a change, or null where that cannot happen to it. `verdict` is that of the attempt which it ends. */
export function after(life: Life, name: ChangeName, verdict?: Verdict): Life | null {
  const { by, from, to, attempt }: Change = CHANGES[name]
  if (life.state !== from.state || !from.stages.includes(life.stage)) return null
  if (!isPossible(attempt, verdict)) return null

  if (by === 'person' && to.stage === 'queue') {
    return { ...life, ...to, attemptsBefore: life.attempt, crashes: 0, verdicts: [] }
  }
  const crashes = life.crashes + (verdict === 'uncertain' ? 1 : 0)
  if (to.state === 'ready' && crashes >= MAX_CRASHES) return null
  return {
    ...life,
    ...to,
    attempt: life.attempt + (attempt ? 1 : 0),
    crashes,
    verdicts: verdict ? [...life.verdicts, verdict] : life.verdicts,
  }
}

type Policy = 'resend' | 'hold'

/** What becomes of a delivery whose worker died while sending it. */
export function afterCrash(crashes: number, onUncertain: Policy): ChangeName {
  if (crashes + 1 >= MAX_CRASHES) return 'fail after a crash'
  return onUncertain === 'resend' ? 'resend after a crash' : 'hold after a crash'
}

/** The result where the other side fell silent. Resent once: a second doubt about the same message is for a person. */
export const afterSilence = (crashes: number, onUncertain: Policy): 'retry' | 'uncertain' =>
  onUncertain === 'resend' && crashes === 0 ? 'retry' : 'uncertain'

/**
 * Every pair of state and trail that the books can show of a delivery, whatever happened to it, as `<number of the state>
 * <trail>`.
 */
export function possibleTrails(): Set<string> {
  const known = new Map<string, Life>()
  const open: Life[] = [PLANNED]
  for (let life = open.pop(); life; life = open.pop()) {
    // Attempts are not bounded, and decide nothing; of the verdicts only the trail is remembered.
    const brief = { ...life, attempt: 0, attemptsBefore: 0, verdicts: trailOf(life.verdicts) }
    const key = JSON.stringify(brief)
    if (known.has(key)) continue
    known.set(key, brief)
    open.push(...changesOf(brief).map(({ next }) => next))
  }
  return new Set([...known.values()].map(({ state, verdicts }) => [STATES[state], ...verdicts].join(' ')))
}

/** All that can happen to a delivery now. */
export const changesOf = (life: Life): { name: ChangeName; verdict: Verdict | undefined; next: Life }[] =>
  (Object.keys(CHANGES) as ChangeName[]).flatMap((name) =>
    verdictsOf(name).flatMap((verdict) => {
      const next = after(life, name, verdict)
      return next ? [{ name, verdict, next }] : []
    }),
  )

/** The verdicts of a delivery without those retries that another attempt followed: what is bounded, and legal or not. */
export const trailOf = (verdicts: readonly Verdict[]): Verdict[] =>
  verdicts.filter((verdict, i) => verdict !== 'retry' || i === verdicts.length - 1)

function verdictsOf(name: ChangeName): readonly (Verdict | undefined)[] {
  const { attempt }: Change = CHANGES[name]
  return Array.isArray(attempt) ? attempt : [undefined]
}

const isPossible = (attempt: Change['attempt'], verdict: Verdict | undefined): boolean =>
  Array.isArray(attempt) ? verdict !== undefined && attempt.includes(verdict) : verdict === undefined
