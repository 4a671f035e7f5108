import fc from 'fast-check'
import { expect } from 'vitest'
import { LANE_NAMES } from '../../src/core/event.ts'
import type { ClaimedDelivery, Place } from '../../src/queue/queue.ts'
import { answered, notBegun, open, sendable, startable, type HeldClaim } from './actor.ts'
import { CHANNELS } from './model.ts'
import { actor, command, draw, pick, picks, some, withClaim } from './step.ts'
import { ANSWERS } from './world.ts'

export const PLACES = Object.keys(CHANNELS).flatMap((channel) => LANE_NAMES.map((lane): Place => ({ channel, lane })))

/** Mostly where something is due. */
export const claim = fc
  .tuple(actor, draw, fc.integer({ min: 1, max: 4 }), fc.boolean())
  .map(([a, d, limit, mayStart]) =>
    command('claim', [a, d, limit, mayStart], async (model, { actors, sight }) => {
      const busy = PLACES.filter((one) => model.due(one).length > 0)
      const place = pick(d % 8 === 0 || busy.length === 0 ? PLACES : busy, d)!
      const due = model.due(place)

      const asStarted = mayStart && place.channel === 'eager'
      const claimed = await actors[a]!.claim(place, limit, asStarted)

      const ids = claimed?.deliveries.map(({ id }) => id) ?? []
      expect(due.map(({ id }) => id)).toEqual(expect.arrayContaining(ids))
      expect(new Set(ids).size).toBe(ids.length)
      expect(ids.length).toBeLessThanOrEqual(limit)
      const missed = due.filter(({ id }) => !ids.includes(id))
      if (!claimed?.hasMore) sight.missed(a, place, missed)
      sight.saw(a, place, ids.map(model.of))
      expect(claimed?.deliveries.map(essence) ?? []).toEqual(ids.map((id) => model.essence(id)))
      if (claimed) model.claim(claimed.leaseId, ids, asStarted)
    }),
  )

/** Looks for all places at once, as a worker does that waits. */
export const look = actor.map((a) =>
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
