import fc from 'fast-check'
import { LEASE_SECONDS, RESEND_AFTER_SECONDS } from './model.ts'
import { adding, cancel, decide, forget, passing, withdraw } from './other-steps.ts'
import { actor, type Command } from './step.ts'
import {
  claimBy,
  claimUnheard,
  die,
  finish,
  finishAgain,
  finishAndClaim,
  finishUnsent,
  lookBy,
  recover,
  release,
  renew,
  send,
  start,
  startLate,
} from './worker-steps.ts'

/** What there is at the beginning. */
export const planned = fc.array(adding(), { minLength: 1, maxLength: 3 })

/** All that can happen, what is usual more often. */
export const commands = (maxCommands: number): fc.Arbitrary<Iterable<Command>> =>
  fc.commands(
    [
      ...often(6, claimBy(actor), start, send, finish),
      ...often(4, adding(), finishAndClaim),
      ...often(3, decide),
      ...often(2, lookBy(actor), recover, cancel, release, passing(1, 5, 10)),
      ...often(1, passing(LEASE_SECONDS, LEASE_SECONDS + 1, RESEND_AFTER_SECONDS)),
      ...often(1, claimUnheard, finishUnsent, withdraw, startLate, finishAgain, renew, die, forget),
    ],
    { maxCommands, size: 'max' },
  )

/** One worker in one place, to which work comes late: what it must not overlook for long. */
export const sightCommands = (maxCommands: number): fc.Arbitrary<Iterable<Command>> => {
  const late = adding({
    lane: fc.constant('p2p'),
    channel: fc.constant('careful'),
    priority: fc.constant(1),
    inSeconds: fc.constantFrom(0, -400),
    past: fc.constant('none'),
  })
  const worker = fc.constant(0)
  return fc.commands([late, claimBy(worker), claimBy(worker), lookBy(worker), passing(1, 3, 5)], {
    maxCommands,
    size: 'max',
  })
}

const often = <Item>(times: number, ...items: Item[]): Item[] =>
  items.flatMap((item) => Array.from({ length: times }, () => item))
