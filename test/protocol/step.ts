import fc from 'fast-check'
import type { Actor, HeldClaim } from './actor.ts'
import { expectBooks } from './books.ts'
import type { Model } from './model.ts'
import type { Sight } from './sight.ts'
import type { VirtualTime } from './virtual-time.ts'
import type { World } from './world.ts'

/** What the commands act upon: the books, the workers, and the world outside. */
export type Real = { time: VirtualTime; actors: Actor[]; world: World; sight: Sight; nextId: () => string }
export type Command = fc.AsyncCommand<Model, Real>

export const ACTORS = 3
export const draw = fc.nat({ max: 20 })
export const actor = fc.nat({ max: ACTORS - 1 })
export const picks = fc.nat({ max: 15 })

/** Compares all books after each step: a fault is found by the statement that made it. */
export function command(name: string, values: unknown[], run: (model: Model, real: Real) => Promise<unknown>): Command {
  return {
    check: () => true,
    async run(model, real) {
      await run(model, real)
      await expectBooks(real.time.db, model)
    },
    toString: () => `${name}(${values.map((value) => JSON.stringify(value)).join(', ')})`,
  }
}

/** One of the list, or none where it is empty. */
export const pick = <Item>(items: readonly Item[], index: number): Item | undefined =>
  items[index % Math.max(items.length, 1)]

/** Those whose bits are set; all where none is. */
export const some = (ids: readonly string[], bits: number): string[] => {
  const chosen = ids.filter((_, i) => (bits >> i) & 1)
  return chosen.length > 0 ? chosen : [...ids]
}

/** A step of a worker with one of its claims, the `c`th of those that fit; nothing where there is none. */
export function withClaim(
  name: string,
  [c, ...values]: readonly [number, ...unknown[]],
  run: (model: Model, actor: Actor, claim: HeldClaim) => Promise<unknown>,
  fits: (claim: HeldClaim) => boolean = () => true,
): Command {
  return command(name, [c, ...values], async (model, { actors }) => {
    const held = pick(
      actors.flatMap((worker) => worker.claims.filter(fits).map((one) => ({ worker, one }))),
      c,
    )
    if (held) await run(model, held.worker, held.one)
  })
}
