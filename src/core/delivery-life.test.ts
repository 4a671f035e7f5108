import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { isFinal, statusOf, STATES } from './delivery.ts'
import {
  after,
  afterCrash,
  afterSilence,
  changesOf,
  CHANGES,
  MAX_CRASHES,
  PLANNED,
  possibleTrails,
  trailOf,
  type Change,
  type ChangeName,
  type Life,
} from './delivery-life.ts'
import type { Verdict } from './errors.ts'

type Step = { name: ChangeName; verdict: Verdict | undefined; before: Life; next: Life }
type Policy = 'resend' | 'hold'

const change = (name: ChangeName): Change => CHANGES[name]
const isHeld = ({ stage }: Life): boolean => stage === 'lease' || stage === 'begun'
/** What may have arrived since a person last decided. */
const copiesOf = ({ crashes, attempt, attemptsBefore, verdicts }: Life): number =>
  crashes + (attempt - attemptsBefore - verdicts.length)
const RUNS = { numRuns: 1000 }

suite('the life of a delivery', () => {
  test('is in one stage at a time, which fits its state', () => {
    everyWay((steps) => {
      for (const { next } of steps) {
        const stages = {
          waiting: next.stage === 'queue' && next.state === 'ready',
          held: isHeld(next) && next.state === 'ready',
          letter: next.stage === 'letter' && (next.state === 'failed' || next.state === 'uncertain'),
          settled: next.stage === 'settled' && isFinal(STATES[next.state]),
        }
        expect(Object.values(stages).filter(Boolean)).toHaveLength(1)
      }
    })
  })

  test('ends once, for good', () => {
    everyWay((steps) => {
      const settled = steps.findIndex(({ next }) => next.stage === 'settled')

      expect([-1, steps.length - 1]).toContain(settled)
      for (const { next } of steps.slice(settled === -1 ? steps.length : settled)) expect(changesOf(next)).toEqual([])
    })
  })

  test('can always end', () => {
    everyWay((steps) => {
      const { next } = steps.at(-1) ?? { next: PLANNED }

      expect(canSettle(next)).toBe(true)
    })
  })

  test('leaves the dead letters only where a person says so, or is forgotten', () => {
    everyWay((steps) => {
      for (const { name, before, next } of steps.filter((step) => step.before.stage === 'letter')) {
        expect(['person', 'retention']).toContain(change(name).by)
        if (next.stage === 'queue') expect(change(name).by).toBe('person')
        expect(next.attempt).toBe(before.attempt)
      }
    })
  })

  test('counts each attempt once, and none away', () => {
    everyWay((steps) => {
      for (const { name, before, next } of steps) {
        const ended = change(name).attempt === undefined ? 0 : 1
        expect(next.attempt - before.attempt).toBe(ended)

        const isAccepted = steps.some((step) => step.name === 'sent' && step.next === next)
        expect(next.attempt).toBe(next.attemptsBefore + next.verdicts.length + (isAccepted ? 1 : 0))
      }
    })
  })

  test('knows no more than so many doubts, and each as one', () => {
    everyWay((steps) => {
      for (const { name, before, next } of steps) {
        expect(next.crashes).toBe(next.verdicts.filter((verdict) => verdict === 'uncertain').length)
        expect(next.crashes).toBeLessThanOrEqual(next.state === 'ready' ? MAX_CRASHES - 1 : MAX_CRASHES)
        if (change(name).by !== 'person') expect(next.crashes).toBeGreaterThanOrEqual(before.crashes)
      }
    })
  })

  test('cannot be cancelled by its caller once somebody holds it', () => {
    everyWay((steps) => {
      for (const { before } of steps.filter(({ name }) => name === 'cancel')) expect(before.stage).toBe('queue')
    })
  })

  test('is shown under one status, which says where it is', () => {
    everyWay((steps) => {
      for (const { next } of steps) {
        const status = statusOf({ state: STATES[next.state], attempt: next.attempt, leased: isHeld(next) })

        expect(status === 'SENDING').toBe(isHeld(next))
        expect(status === 'PENDING').toBe(next.stage === 'queue' && next.attempt === 0)
        expect(status === 'RETRYING').toBe(next.stage === 'queue' && next.attempt > 0)
        if (next.state !== 'ready') expect(status).toBe(next.state.toUpperCase())
      }
    })
  })

  test('leaves a trail that is known to be possible', () => {
    const possible = possibleTrails()

    everyWay((steps) => {
      for (const { next } of steps) {
        expect(possible).toContain([STATES[next.state], ...trailOf(next.verdicts)].join(' '))
      }
    })
  })

  test('can take every way that is written down', () => {
    const taken = new Set<ChangeName>()

    everyWay((steps) => steps.forEach(({ name }) => taken.add(name)))

    expect([...taken].toSorted()).toEqual(Object.keys(CHANGES).toSorted())
  })

  test('refuses what does not fit, and changes nothing then', () => {
    expect(after(PLANNED, 'sent')).toBeNull()
    expect(after({ ...PLANNED, stage: 'begun' }, 'retry')).toBeNull()
    expect(after({ ...PLANNED, stage: 'begun' }, 'retry', 'reject')).toBeNull()
    expect(after({ ...PLANNED, stage: 'begun' }, 'sent', 'retry')).toBeNull()
    expect(
      after({ ...PLANNED, stage: 'begun', crashes: MAX_CRASHES - 1 }, 'resend after a crash', 'uncertain'),
    ).toBeNull()
  })
})

suite('a doubt', () => {
  test('is never resent by itself where the channel holds', () => {
    everyWay((steps) => {
      for (const { next } of steps) expect(copiesOf(next)).toBeLessThanOrEqual(1)
      for (const { name } of steps.filter(({ before }) => before.crashes > 0)) {
        expect(change(name).by).toMatch(/person|retention/)
      }
    }, 'hold')
  })

  test('has a legal consequence, at any time', () => {
    everyWay((steps) => {
      for (const { next } of steps.filter((step) => step.next.stage === 'begun')) {
        for (const policy of ['resend', 'hold'] as const) {
          expect(after(next, afterCrash(next.crashes, policy), 'uncertain')).not.toBeNull()
          expect(after(next, afterSilence(next.crashes, policy), 'uncertain')).not.toBeNull()
        }
      }
    })
  })

  test('is resent so often at most where the channel resends', () => {
    everyWay((steps) => {
      for (const { next } of steps) expect(copiesOf(next)).toBeLessThanOrEqual(MAX_CRASHES)
      // Falling silent twice is for a person, however the first doubt came about.
      for (const { before, name, verdict } of steps.filter((step) => step.name === 'retry')) {
        if (verdict === 'uncertain') expect([name, before.crashes]).toEqual(['retry', 0])
      }
    }, 'resend')
  })
})

/**
 * Goes many ways from the plan, each step drawn from what is legal; with a policy only those that a worker and a recovery
 * would take under it.
 */
function everyWay(holds: (steps: Step[]) => void, policy?: Policy): void {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 60, size: 'max' }), (draws) => {
      const steps: Step[] = []
      let life = PLANNED
      for (const draw of draws) {
        // Most draws go on, so that long lives are met as often as short ones.
        const choices = changesOf(life)
          .filter((choice) => !policy || wouldTake(policy, life, choice))
          .filter(({ next }) => draw % 5 === 0 || next.stage !== 'settled')
        const choice = choices[Math.floor(draw / 5) % choices.length]
        if (!choice) break
        steps.push({ ...choice, before: life })
        life = choice.next
      }

      holds(steps)
    }),
    RUNS,
  )
}

function wouldTake(
  policy: Policy,
  { crashes }: Life,
  { name, verdict }: { name: ChangeName; verdict?: Verdict | undefined },
) {
  if (name.endsWith(' after a crash')) return name === afterCrash(crashes, policy)
  return verdict !== 'uncertain' || name === afterSilence(crashes, policy)
}

function canSettle(life: Life): boolean {
  const seen = new Set<string>()
  const open = [life]
  for (let one = open.pop(); one; one = open.pop()) {
    if (one.stage === 'settled') return true
    const key = `${one.state} ${one.stage}`
    if (seen.has(key)) continue
    seen.add(key)
    open.push(...changesOf(one).map(({ next }) => next))
  }
  return false
}
