import fc from 'fast-check'
import { LEASE_SECONDS, RESEND_AFTER_SECONDS } from './model.ts'
import { add, cancel, decide, forget, passing, withdraw } from './other-steps.ts'
import type { Command } from './step.ts'
import {
  claim,
  claimUnheard,
  die,
  finish,
  finishAgain,
  finishAndClaim,
  finishUnsent,
  look,
  recover,
  release,
  renew,
  send,
  start,
  startLate,
} from './worker-steps.ts'

/** What there is at the beginning. */
export const planned = fc.array(add, { minLength: 1, maxLength: 3 })

/** All that can happen, what is usual more often. */
export const commands = (maxCommands: number): fc.Arbitrary<Iterable<Command>> =>
  fc.commands(
    [
      ...often(6, claim, start, send, finish),
      ...often(4, add, finishAndClaim),
      ...often(3, decide),
      ...often(2, look, recover, cancel, release, passing(1, 5, 10)),
      ...often(1, passing(LEASE_SECONDS, LEASE_SECONDS + 1, RESEND_AFTER_SECONDS)),
      ...often(1, claimUnheard, finishUnsent, withdraw, startLate, finishAgain, renew, die, forget),
    ],
    { maxCommands, size: 'max' },
  )

const often = <Item>(times: number, ...items: Item[]): Item[] =>
  items.flatMap((item) => Array.from({ length: times }, () => item))
