import fc from 'fast-check'
import { expect } from 'vitest'
import { LANE_NAMES } from '../../src/core/event.ts'
import type { Claim, ClaimedDelivery, NextClaim, Place } from '../../src/queue/queue.ts'
import { answered, notBegun, open, sendable, startable, type HeldClaim } from './actor.ts'
import { CHANNELS, type Model, type ModelDelivery } from './model.ts'
import type { Sight } from './sight.ts'
import { actor, command, draw, pick, picks, some, withClaim } from './step.ts'
import { ANSWERS } from './world.ts'

export const PLACES = Object.keys(CHANNELS).flatMap((channel) => LANE_NAMES.map((lane): Place => ({ channel, lane })))

/** Mostly where something is due. */
const placeToClaim = (model: Model, d: number): Place => {
  const busy = PLACES.filter((one) => model.due(one).length > 0)
  return pick(d % 8 === 0 || busy.length === 0 ? PLACES : busy, d)!
}

/** What a claim took is what was due, as it was, and it has overlooked no more than it may. */
function expectClaimed(
  { model, sight, worker }: { model: Model; sight: Sight; worker: number },
  { place, limit, options: { asStarted = false } }: NextClaim,
  due: readonly ModelDelivery[],
  claimed: Claim | null,
): void {
  const ids = claimed?.deliveries.map(({ id }) => id) ?? []
  expect(due.map(({ id }) => id)).toEqual(expect.arrayContaining(ids))
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.length).toBeLessThanOrEqual(limit)
  const missed = due.filter(({ id }) => !ids.includes(id))
  if (!claimed?.hasMore) sight.missed(worker, place, missed)
  sight.saw(worker, place, ids.map(model.of))
  expect(claimed?.deliveries.map(essence) ?? []).toEqual(ids.map((id) => model.essence(id)))
  if (claimed) model.claim(claimed.leaseId, ids, asStarted)
}

const nextClaim = fc.record({ d: draw, limit: fc.integer({ min: 1, max: 4 }), mayStart: fc.boolean() })
const claimOf = (model: Model, { d, limit, mayStart }: { d: number; limit: number; mayStart: boolean }): NextClaim => {
  const place = placeToClaim(model, d)
  return { place, limit, options: { asStarted: mayStart && place.channel === 'eager' } }
}

export const claimBy = (who: fc.Arbitrary<number>) =>
  fc.tuple(who, nextClaim).map(([a, wish]) =>
    command('claim', [a, wish], async (model, { actors, sight }) => {
      const next = claimOf(model, wish)
      const due = model.due(next.place)

      const claimed = await actors[a]!.claim(next.place, next.limit, next.options.asStarted ?? false)

      expectClaimed({ model, sight, worker: a }, next, due, claimed)
    }),
  )

/** What was claimed is nobody's, and goes back. */
export const claimUnheard = fc.tuple(actor, nextClaim).map(([a, wish]) =>
  command('claim unheard', [a, wish], async (model, { actors }) => {
    const { queue, line } = actors[a]!
    const { place, limit, options } = claimOf(model, wish)

    await expect(line?.losing(() => queue.claim(place, limit, options))).rejects.toThrow('broke')
  }),
)

/** As a worker does that has free slots for what is next. */
export const finishAndClaim = fc.tuple(draw, picks, draw, nextClaim, fc.boolean()).map(([c, bits, d, wish, isLost]) =>
  command('finish and claim', [c, bits, d, wish, isLost], async (model, { actors, sight }) => {
    const able = actors.flatMap((worker, index) =>
      worker.claims.filter((one) => answered(one).length > 0).map((held) => ({ worker, index, held })),
    )
    const chosen = pick(able, c)
    if (!chosen) return
    const { worker, index, held } = chosen
    const ids = some(answered(held), bits)
    const next = claimOf(model, wish)
    const due = model.due(next.place)

    if (isLost) {
      await expect(worker.line?.losing(() => worker.finishAndClaim(held, ids, d, next))).rejects.toThrow('broke')
      model.finish(held.leaseId, worker.told.at(-1)!.results)
      for (const id of ids) held.over.add(id)
      return
    }
    const { results, recorded, claim: claimed } = await worker.finishAndClaim(held, ids, d, next)

    // One statement sees what was before it: what it gives back is for the next claim.
    expectClaimed({ model, sight, worker: index }, next, due, claimed)
    expect(recorded.toSorted()).toEqual(model.finish(held.leaseId, results).toSorted())
  }),
)

/** Looks for all places at once, as a worker does that waits. */
export const lookBy = (who: fc.Arbitrary<number>) =>
  who.map((a) =>
    command('look', [a], async (model, { actors, sight }) => {
      const found = await actors[a]!.queue.due(PLACES)

      for (const place of PLACES) {
        const isFound = found.some(({ channel, lane }) => channel === place.channel && lane === place.lane)
        if (isFound) expect(model.due(place)).not.toEqual([])
        else sight.missed(a, place, model.due(place))
      }
    }),
  )

const essence = ({ id, attempt, crashes, is_expired, is_cancelled }: ClaimedDelivery) => ({
  id,
  attempt,
  crashes,
  isExpired: is_expired,
  isCancelled: is_cancelled,
})

export const start = fc.tuple(draw, picks).map(([c, bits]) =>
  withClaim(
    'start',
    [c, bits],
    async (model, worker, held) => {
      const ids = some(startable(held), bits)
      const isSure = held.isStarted && model.nowMs() < held.heldUntilMs

      const allowed = await worker.start(held, ids)

      if (held.isStarted) {
        expect(allowed).toEqual(isSure || model.renew(held.leaseId) ? ids : [])
        return
      }
      const expected = model.start(held.leaseId, ids)
      expect(allowed.toSorted()).toEqual(expected.toSorted())
      if (expected.length < ids.length) model.renew(held.leaseId)
    },
    (held) => startable(held).length > 0,
  ),
)

/** The answer to its first try came too late: it was given up, or its result is told already. */
export const startLate = fc.tuple(draw, picks).map(([c, bits]) =>
  withClaim('start late', [c, bits], async (model, worker, held) => {
    const ids = some([...held.deliveries.keys()], bits)

    const allowed = await worker.queue.start(held.leaseId, ids)

    expect(allowed.toSorted()).toEqual(model.start(held.leaseId, ids).toSorted())
  }),
)

export const send = fc.tuple(draw, draw, fc.constantFrom(...ANSWERS)).map(([c, d, answer]) =>
  withClaim(
    'send',
    [c, d, answer],
    async (_model, worker, held) => {
      const id = pick(sendable(held), d)
      if (id) worker.send(held, id, answer)
    },
    (held) => sendable(held).length > 0,
  ),
)

/** Results of what was sent, or of what cannot be sent at all. */
const finishing = (name: string, finishable: (held: HeldClaim) => string[]) =>
  fc.tuple(draw, picks, draw).map(([c, bits, d]) =>
    withClaim(
      name,
      [c, bits, d],
      async (model, worker, held) => {
        const ids = some(finishable(held), bits)

        const { results, recorded } = await worker.finish(held, ids, d)

        expect(recorded.toSorted()).toEqual(model.finish(held.leaseId, results).toSorted())
      },
      (held) => finishable(held).length > 0,
    ),
  )
export const finish = finishing('finish', answered)
export const finishUnsent = finishing('finish unsent', open)

/** The answer to a result was lost: it is told again, at once or at any time later. */
export const finishAgain = draw.map((d) =>
  command('finish again', [d], async (model, { actors }) => {
    const said = pick(
      actors.flatMap(({ told }) => told),
      d,
    )
    if (!said) return

    const recorded = await actors[0]!.queue.finish(said.leaseId, said.results)

    expect(model.finish(said.leaseId, said.results)).toEqual([])
    expect(recorded).toEqual([])
  }),
)

export const renew = draw.map((c) =>
  withClaim('renew', [c], async (model, worker, held) => {
    expect(await worker.renew(held)).toBe(model.renew(held.leaseId))
  }),
)

export const release = draw.map((c) =>
  withClaim('release', [c], async (model, worker, held) => {
    await worker.release(held)
    model.release(held.leaseId, notBegun(held))
  }),
)

export const die = actor.map((a) => command('die', [a], async (_model, { actors }) => actors[a]!.die()))

export const recover = actor.map((a) =>
  command('recover', [a], async (model, { actors }) => {
    expect(await actors[a]!.queue.recover(CHANNELS)).toEqual(model.recover())
  }),
)
