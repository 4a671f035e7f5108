import fc from 'fast-check'
import { afterAll, beforeAll, suite, test } from 'vitest'
import { idGenerator } from '../../src/core/id.ts'
import { newActor } from './actor.ts'
import { emptyBooks, expectLaws } from './books.ts'
import { commands, planned, sightCommands } from './commands.ts'
import { newModel } from './model.ts'
import { lineTo, openQueue } from './open-queue.ts'
import { newSight } from './sight.ts'
import { virtualTime, type VirtualTime } from './virtual-time.ts'
import { ACTORS, type Command } from './step.ts'
import { newWorld } from './world.ts'

/** More for a long night: PROTOCOL_RUNS=10000. A failure prints its seed, and the fewest steps that lead to it. */
const RUNS = Number(process.env['PROTOCOL_RUNS'] ?? 100)

suite('claims, leases and results', () => {
  const nextId = idGenerator(() => 1)
  let time: VirtualTime
  beforeAll(async () => {
    time = await virtualTime()
  })
  afterAll(() => time.close())

  test(
    'are what the model says, whoever dies, pauses or repeats himself, in whatever order',
    () => play(commands(80), RUNS),
    86_400_000,
  )

  test('overlook nothing for long that comes late', () => play(sightCommands(40), RUNS / 2), 86_400_000)

  async function play(all: fc.Arbitrary<Iterable<Command>>, numRuns: number): Promise<void> {
    const property = fc.asyncProperty(planned, all, async (plan, steps) => {
      await emptyBooks(time.db)
      await time.reset()
      const model = newModel(time.nowMs)
      const world = newWorld()
      const actors = Array.from({ length: ACTORS }, () => {
        const line = lineTo(time)
        return newActor(openQueue(time, nextId, line.db), world, time.nowMs, line)
      })
      const real = { time, actors, world, sight: newSight(time.nowMs), nextId }

      for (const step of plan) await step.run(model, real)
      await fc.asyncModelRun(() => ({ model, real }), steps)

      await expectLaws(time.db, world)
    })
    await fc.assert(property, { numRuns })
  }
})
