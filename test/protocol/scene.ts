import { idGenerator } from '../../src/core/id.ts'
import { newActor, open, sendable, startable, type Actor, type HeldClaim } from './actor.ts'
import { emptyBooks } from './books.ts'
import { CHANNELS, RESEND_AFTER_SECONDS } from './model.ts'
import { openQueue } from './open-queue.ts'
import { ACTORS } from './step.ts'
import type { VirtualTime } from './virtual-time.ts'
import { newWorld, type World } from './world.ts'
import { PLACES } from './worker-steps.ts'

const nextId = idGenerator(() => 1)

/** Several workers over the same books, with nothing in them yet. */
export type Scene = { time: VirtualTime; world: World; actors: Actor[]; nextId: () => string }

export async function newScene(time: VirtualTime): Promise<Scene> {
  await emptyBooks(time.db)
  await time.reset()
  const world = newWorld()
  const actors = Array.from({ length: ACTORS }, () => newActor(openQueue(time, nextId), world, time.nowMs))
  return { time, world, actors, nextId }
}

/**
 * All workers die, and a last one does whatever is left to do. Returns the ids of what is still not over: none, if nothing
 * was lost.
 */
export async function workOff({ time, world, actors }: Scene): Promise<string[]> {
  for (const one of actors) one.die()
  const last = newActor(openQueue(time, nextId), world, time.nowMs)
  // A doubt is resent once more after each of these.
  for (let turn = 0; turn < 4; turn++) {
    await time.pass(RESEND_AFTER_SECONDS)
    await last.queue.recover(CHANNELS)
    for (const place of PLACES) {
      while (await last.claim(place, 100, false)) await workOffClaim(last, last.claims.pop()!)
    }
  }
  const rows = await time.db.query<{ id: string }>(
    'select id from delivery where state = 0 union all select id from ready union all select unnest(ids) from lease',
  )
  return rows.map(({ id }) => id)
}

async function workOffClaim(worker: Actor, claim: HeldClaim): Promise<void> {
  const unsent = startable(claim).filter((id) => !claim.deliveries.get(id)!.isExpired)
  if (unsent.length > 0) await worker.start(claim, unsent)
  for (const id of sendable(claim)) worker.send(claim, id, 'accepted')
  await worker.finish(claim, open(claim), 0)
}
