import type { ChangeName } from '../../src/core/delivery-life.ts'
import type { Queryable } from '../../src/db/db.ts'
import { discardLetter, requeueLetters, settleLetter } from '../../src/store/requeue.ts'
import { takeWithdrawal, withdrawPage } from '../../src/store/withdraw.ts'

/** What a person may decide about a dead letter; true: it was done. */
export const DECISIONS = {
  'send again': (db, id) => sendAgain(db, id, 'failed'),
  'send in spite of doubt': (db, id) => sendAgain(db, id, 'uncertain'),
  'settle as sent': (db, id) => settleLetter(db, '', id, 'sent'),
  'settle as failed': (db, id) => settleLetter(db, '', id, 'failed'),
  discard: (db, id) => discardLetter(db, '', id),
} as const satisfies Partial<Record<ChangeName, (db: Queryable, id: string) => Promise<boolean>>>
export type Decision = keyof typeof DECISIONS
export const DECISION_NAMES = Object.keys(DECISIONS) as Decision[]

async function sendAgain(db: Queryable, id: string, kind: 'failed' | 'uncertain'): Promise<boolean> {
  return (await requeueLetters(db, '', [id], { kind, template: 'current' })).length > 0
}

/** Ends what waits of cancelled events, as the scheduler does; returns how many. */
export async function withdrawAll(db: Queryable): Promise<number> {
  let count = 0
  for (let one = await takeWithdrawal(db); one; one = await takeWithdrawal(db)) {
    count += (await withdrawPage(db, one)).ended
  }
  return count
}
