import fc from 'fast-check'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { cancelOne } from '../../src/store/cancel-events.ts'
import { endOldDeadLetters } from '../../src/store/retention.ts'
import { addDeliveries } from '../deliveries.ts'
import { answered, open, sendable, startable, type Actor, type HeldClaim } from './actor.ts'
import { expectLaws } from './books.ts'
import { CHANNELS, LEASE_SECONDS, RESEND_AFTER_SECONDS, type ChannelName } from './model.ts'
import { DECISION_NAMES, DECISIONS, withdrawAll } from './people.ts'
import { newScene, workOff, type Scene } from './scene.ts'
import { actor, draw, pick, picks, some } from './step.ts'
import { virtualTime, type VirtualTime } from './virtual-time.ts'
import { PLACES } from './worker-steps.ts'
import { ANSWERS } from './world.ts'

const RUNS = Number(process.env['PROTOCOL_RUNS'] ?? 100) / 4

/** Something that is done while others do something else. What it is done to is chosen before anything is waited for. */
type Action = { run: (scene: Scene, busy: Set<HeldClaim>) => Promise<unknown>; toString: () => string }

const action = (name: string, values: unknown[], run: Action['run']): Action => ({
  run,
  toString: () => `${name}(${values.map((value) => JSON.stringify(value)).join(', ')})`,
})

/** A worker does one thing at a time with a claim. */
function withFreeClaim(
  name: string,
  [c, ...values]: readonly [number, ...unknown[]],
  fits: (claim: HeldClaim) => boolean,
  run: (worker: Actor, claim: HeldClaim) => Promise<unknown>,
): Action {
  return action(name, [c, ...values], async ({ actors }, busy) => {
    const free = actors.flatMap((worker) =>
      worker.claims.filter((one) => !busy.has(one) && fits(one)).map((one) => ({ worker, one })),
    )
    const held = pick(free, c)
    if (!held) return
    busy.add(held.one)
    await run(held.worker, held.one).finally(() => busy.delete(held.one))
  })
}

const claim = fc.tuple(actor, draw, fc.integer({ min: 1, max: 4 }), fc.boolean()).map(([a, d, limit, mayStart]) =>
  action('claim', [a, d, limit, mayStart], async ({ actors }) => {
    const place = PLACES[d % PLACES.length]!
    await actors[a]!.claim(place, limit, mayStart && place.channel === 'eager')
  }),
)

const start = fc.tuple(draw, picks).map(([c, bits]) =>
  withFreeClaim(
    'start',
    [c, bits],
    (held) => startable(held).length > 0,
    (worker, held) => worker.start(held, some(startable(held), bits)),
  ),
)

const send = fc.tuple(draw, fc.constantFrom(...ANSWERS)).map(([c, answer]) =>
  withFreeClaim(
    'send',
    [c, answer],
    (held) => sendable(held).length > 0,
    async (worker, held) => {
      for (const id of sendable(held)) worker.send(held, id, answer)
    },
  ),
)

/** Twice: the answer to the first time does not come, and it is not given up for that. */
const finish = fc.tuple(draw, picks, draw, fc.boolean()).map(([c, bits, d, isTold]) =>
  withFreeClaim(
    'finish',
    [c, bits, d, isTold],
    (held) => open(held).length > 0,
    (worker, held) => {
      const ids = some(answered(held).length > 0 ? answered(held) : open(held), bits)
      const times = isTold ? [1] : [1, 2]
      return Promise.all(times.map(() => worker.finish(held, ids, d)))
    },
  ),
)

const renew = draw.map((c) =>
  withFreeClaim(
    'renew',
    [c],
    () => true,
    (worker, held) => worker.renew(held),
  ),
)
const release = draw.map((c) =>
  withFreeClaim(
    'release',
    [c],
    () => true,
    (worker, held) => worker.release(held),
  ),
)
const die = actor.map((a) => action('die', [a], async ({ actors }) => actors[a]!.die()))
const recover = actor.map((a) => action('recover', [a], ({ actors }) => actors[a]!.queue.recover(CHANNELS)))
const pass = fc
  .constantFrom(1, LEASE_SECONDS + 1, RESEND_AFTER_SECONDS)
  .map((seconds) => action('pass', [seconds], ({ time }) => time.pass(seconds)))

const add = fc
  .tuple(fc.constantFrom(...(Object.keys(CHANNELS) as ChannelName[])), fc.integer({ min: 1, max: 3 }))
  .map(([channel, count]) =>
    action('add', [channel, count], ({ time, nextId }) => addDeliveries(time.db, nextId, count, { channel })),
  )

const cancel = draw.map((d) =>
  action('cancel', [d], async ({ time: { db } }) => {
    const event = pick(await db.query<{ id: string }>('select id from event order by id'), d)
    if (event) await cancelOne(db, '', event.id)
  }),
)
const withdraw = fc.constant(action('withdraw', [], ({ time }) => withdrawAll(time.db)))

const decide = fc.tuple(draw, fc.constantFrom(...DECISION_NAMES)).map(([d, name]) =>
  action('decide', [d, name], async ({ time: { db }, world }) => {
    const letter = pick(await db.query<{ id: string }>('select delivery_id as id from dead order by 1'), d)
    if (letter && (await DECISIONS[name](db, letter.id)) && name.startsWith('send ')) world.sendAgain(letter.id)
  }),
)
const forget = fc.constant(action('forget', [], ({ time }) => endOldDeadLetters(time.db, 1, 100)))

const anything = fc.oneof(
  { weight: 5, arbitrary: fc.oneof(claim, start, send, finish) },
  { weight: 3, arbitrary: fc.oneof(recover, pass, decide, add) },
  { weight: 1, arbitrary: fc.oneof(renew, release, die, cancel, withdraw, forget) },
)
const rounds = fc.array(fc.array(anything, { minLength: 2, maxLength: 8, size: 'max' }), {
  minLength: 1,
  maxLength: 12,
  size: 'max',
})

suite('workers and people who meet at the same delivery', () => {
  let time: VirtualTime
  beforeAll(async () => {
    time = await virtualTime()
  })
  afterAll(() => time.close())

  test('lose nothing and send nothing twice that is held in doubt', async () => {
    await fc.assert(
      fc.asyncProperty(rounds, async (all) => {
        const scene = await newScene(time)
        for (const channel of Object.keys(CHANNELS)) await addDeliveries(time.db, scene.nextId, 2, { channel })

        for (const round of all) {
          const busy = new Set<HeldClaim>()
          await Promise.all(round.map((one) => one.run(scene, busy)))
          await expectLaws(time.db, scene.world)
        }

        expect(await workOff(scene)).toEqual([])
        await expectLaws(time.db, scene.world)
      }),
      { numRuns: RUNS },
    )
  }, 86_400_000)
})
