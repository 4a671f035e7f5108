import { hash } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { uuidOf } from '../core/id.ts'
import { canonicalJson } from '../core/json.ts'
import type { Ports } from '../ports.ts'
import {
  advanceReplay,
  findLikeReplay,
  insertReplay,
  lettersToReplay,
  takeReplay,
  type Page,
  type PassedLetter,
  type Replay,
  type ReplayFilter,
} from '../store/replay.ts'
import { countDeadLetters } from '../store/dead-letters.ts'
import { requeueLetters, type TemplateChoice } from '../store/requeue.ts'

export type ReplayRequest = {
  filter: ReplayFilter
  template: TemplateChoice
  ratePerSecond: number
  /** What the dry run counted: refused when there are more or fewer by now. */
  expectedCount?: number | undefined
}

/**
 * Starts sending again all dead letters that fit; the scheduler goes through them. The same key, or the same request
 * while it is being carried out, gives the replay that there is.
 *
 * Errors: `mismatch` (the key came before with another request), `conflict` (the letters are not as many as expected, or
 * a replay of the same letters is running in another way).
 */
export async function startReplay(
  { db, nextId }: Pick<Ports, 'db' | 'nextId'>,
  { companyId, keyId }: { companyId: string; keyId: string },
  { filter, template, ratePerSecond, expectedCount }: ReplayRequest,
  idempotencyKey: string,
): Promise<{ replay: Replay; isNew: boolean }> {
  const body = { filter, template, ratePerSecond, expectedCount: expectedCount ?? null }
  const wanted = {
    id: nextId(),
    company_id: companyId,
    started_by: keyId,
    idempotency_key: idempotencyKey,
    body_hash: hash('sha256', canonicalJson(body)),
    filter,
    template,
    rate_per_second: ratePerSecond,
    expected_count: expectedCount,
  }
  const replay = await insertReplay(db, wanted)
  if (replay) return { replay, isNew: true }

  const like = await findLikeReplay(db, wanted)
  if (like?.has_key && !like.has_body) {
    throw new AppError('mismatch', 'This idempotency key came before with another request; use a new one')
  }
  if (like && like.template !== template) {
    throw new AppError('conflict', `The replay ${uuidOf(like.id)} of the same letters is running, with other templates`)
  }
  if (like) return { replay: like, isNew: false }

  const { count } = await countDeadLetters(db, companyId, filter)
  throw new AppError('conflict', `There are ${count} such dead letters now, not ${expectedCount}; look again`)
}

/**
 * Goes on with running replays, page by page. Any number of processes may do so at once; one that dies leaves its last
 * page undone as a whole.
 */
export async function continueReplays({ db, queue, log }: Pick<Ports, 'db' | 'queue' | 'log'>): Promise<void> {
  for (let turn = 0; turn < MAX_PAGES_PER_TURN; turn++) {
    const done = await db.transaction(replayPage)
    if (!done) return
    if (done.requeued > 0) queue.wake()
    if (done.isLast) log.info({ replayId: done.id }, 'replay of dead letters is through')
  }
}

/** So that a shutdown need not wait for a long replay. */
const MAX_PAGES_PER_TURN = 20
const PAGE_SIZE = 500
/** Put back no further ahead than this, so that a replay can be stopped; longer than the scheduler's pause. */
const AHEAD_SECONDS = 3

async function replayPage(tx: Parameters<typeof takeReplay>[0]): Promise<(Page & { id: string }) | null> {
  const replay = await takeReplay(tx, AHEAD_SECONDS)
  if (!replay) return null

  const { id, rate_per_second: perSecond } = replay
  const passed = await lettersToReplay(tx, replay, PAGE_SIZE)
  const { letters, isLast } = withinRate(passed, perSecond * AHEAD_SECONDS)
  const requeued = await requeueLetters(tx, replay.company_id, letters.filter(isSendable).map(idOf), {
    kind: replay.filter.kind,
    template: replay.template,
    pace: { from: replay.sent_until, perSecond },
  })

  const page: Page = {
    cursor: letters.at(-1)?.id ?? replay.cursor,
    requeued: requeued.length,
    expired: letters.filter((letter) => letter.is_expired && !letter.is_cancelled).length,
    cancelled: letters.filter((letter) => letter.is_cancelled).length,
    seconds: requeued.length / perSecond,
    isLast,
  }
  await advanceReplay(tx, id, page)
  return { ...page, id }
}

/** As many letters from the beginning that no more than `limit` of them are sent. */
function withinRate(passed: PassedLetter[], limit: number): { letters: PassedLetter[]; isLast: boolean } {
  const firstLeft = passed.filter(isSendable)[limit]
  if (firstLeft) return { letters: passed.slice(0, passed.indexOf(firstLeft)), isLast: false }
  return { letters: passed, isLast: passed.length < PAGE_SIZE }
}

const isSendable = ({ fits, is_expired, is_cancelled }: PassedLetter): boolean => fits && !is_expired && !is_cancelled
const idOf = ({ id }: PassedLetter): string => id
