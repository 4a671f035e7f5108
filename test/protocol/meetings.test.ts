import fc from 'fast-check'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import type { Queryable } from '../../src/db/db.ts'
import type { Place, Queue } from '../../src/queue/queue.ts'
import { cancelOne } from '../../src/store/cancel-events.ts'
import { endOldDeadLetters } from '../../src/store/retention.ts'
import { addDeliveries } from '../deliveries.ts'
import { answered, open, sendable, type HeldClaim } from './actor.ts'
import { expectLaws } from './books.ts'
import { CHANNELS, LEASE_SECONDS } from './model.ts'
import { openQueue } from './open-queue.ts'
import { DECISIONS, withdrawAll, type Decision } from './people.ts'
import { newScene, workOff, type Scene } from './scene.ts'
import { virtualTime, type VirtualTime } from './virtual-time.ts'

const RUNS = Number(process.env['PROTOCOL_RUNS'] ?? 100) / 4
const PLACE: Place = { channel: 'careful', lane: 'p2p' }

/** Two leases of two deliveries, one of them begun and sent: one lease is over, the other is not. And one of each other kind. */
type Stage = Scene & { live: HeldClaim; over: HeldClaim; letters: string[]; events: string[] }

async function setTheStage(time: VirtualTime): Promise<Stage> {
  const scene = await newScene(time)
  const worker = scene.actors[0]!
  const take = async (): Promise<HeldClaim> => {
    await addDeliveries(time.db, scene.nextId, 2, { channel: 'careful' })
    await worker.claim(PLACE, 2, false)
    const held = worker.claims.at(-1)!
    await worker.start(held, open(held).slice(0, 1))
    return held
  }
  const dead = await take()
  await worker.start(dead, open(dead))
  sendable(dead).forEach((id, i) => worker.send(dead, id, i === 0 ? 'refused' : 'lost in silence'))
  const letters = answered(dead)
  await worker.finish(dead, letters, 0)

  const over = await take()
  await time.pass(LEASE_SECONDS + 1)
  const live = await take()
  for (const held of [over, live]) for (const id of sendable(held)) worker.send(held, id, 'accepted')
  await addDeliveries(time.db, scene.nextId, 2, { channel: 'careful' })
  const events = await time.db.query<{ id: string }>(
    `with counted as (update event set jobs_count = 1 returning id) select id from counted order by id`,
  )
  return { ...scene, live, over, letters, events: events.map(({ id }) => id) }
}

/** What happens in the world once it is committed. */
type Then = () => void
type Deed = (stage: Stage, queue: Queue, db: Queryable) => Promise<Then>
const nothing: Then = () => {}

const starting =
  (which: 'live' | 'over'): Deed =>
  async ({ actors, [which]: held }, queue) => {
    const allowed = await queue.start(held.leaseId, open(held))
    return () => {
      for (const id of allowed) if (!held.answers.has(id)) actors[0]!.send(held, id, 'accepted')
    }
  }

/** The begun one was sent; the other could not be tried. */
const finishing =
  (which: 'live' | 'over'): Deed =>
  async ({ [which]: held }, queue) => {
    const results = open(held).map((id) =>
      held.answers.has(id)
        ? ({ id, state: 'sent' } as const)
        : ({ id, state: 'postponed', reason: 'away', afterSeconds: 0 } as const),
    )
    await queue.finish(held.leaseId, results)
    return nothing
  }

const doing =
  (work: (stage: Stage, queue: Queue, db: Queryable) => Promise<unknown>): Deed =>
  async (...args) => {
    await work(...args)
    return nothing
  }

const deciding =
  (name: Decision): Deed =>
  async ({ letters, world }, _queue, db) => {
    const done: string[] = []
    for (const id of letters) if (await DECISIONS[name](db, id)) done.push(id)
    return () => (name.startsWith('send ') ? done.forEach(world.sendAgain) : undefined)
  }

const DEEDS: Record<string, Deed> = {
  claim: doing((_stage, queue) => queue.claim(PLACE, 10)),
  'start live': starting('live'),
  'start over': starting('over'),
  'finish live': finishing('live'),
  'finish over': finishing('over'),
  'renew live': doing(({ live }, queue) => queue.renew(live.leaseId)),
  'release live': doing(({ live }, queue) => queue.release(live.leaseId)),
  'release over': doing(({ over }, queue) => queue.release(over.leaseId)),
  recover: doing((_stage, queue) => queue.recover(CHANNELS)),
  cancel: doing(async ({ events }, _queue, db) => {
    for (const id of events) await cancelOne(db, '', id)
  }),
  withdraw: doing((_stage, _queue, db) => withdrawAll(db)),
  'send again': deciding('send again'),
  'send in spite of doubt': deciding('send in spite of doubt'),
  'settle as sent': deciding('settle as sent'),
  'settle as failed': deciding('settle as failed'),
  discard: deciding('discard'),
  forget: doing((_stage, _queue, db) => endOldDeadLetters(db, 0, 100)),
}
const NAMES = Object.keys(DEEDS)
/** What touches the same rows: of these, each is played with each. */
const GROUPS = [
  ['start live', 'finish live', 'finish over', 'renew live', 'release live', 'release over', 'recover'],
  ['send again', 'send in spite of doubt', 'settle as sent', 'settle as failed', 'discard', 'forget', 'cancel'],
  ['claim', 'cancel', 'withdraw', 'recover', 'release live'],
]

suite('what begins before the end of what it meets', () => {
  let time: VirtualTime
  beforeAll(async () => {
    time = await virtualTime()
  })
  afterAll(() => time.close())

  test('leaves the books in order, whatever they are and whether the first one ends well', async () => {
    const name = fc.constantFrom(...NAMES)
    const examples = GROUPS.flatMap((group) =>
      group.flatMap((first) =>
        group.map((second): [string, string, boolean, boolean] => [first, second, true, second === 'recover']),
      ),
    )

    await fc.assert(
      fc.asyncProperty(name, name, fc.boolean(), fc.boolean(), async (first, second, isCommitted, isLater) => {
        // A worker tells the end of a lease only when all that it asked to begin was answered.
        fc.pre(!(first === 'start live' && /^(finish|release) live$/.test(second)))
        const stage = await setTheStage(time)

        await meet(stage, DEEDS[first]!, DEEDS[second]!, { isCommitted, isLater })

        await expectLaws(time.db, stage.world)
        expect(await workOff(stage)).toEqual([])
        await expectLaws(time.db, stage.world)
      }),
      { numRuns: examples.length + RUNS, examples },
    )
  }, 86_400_000)

  test.each(['claim', 'recover'])('makes no %s wait', async (second) => {
    for (const first of NAMES.filter((name) => name !== second)) {
      const stage = await setTheStage(time)

      expect([first, await meet(stage, DEEDS[first]!, DEEDS[second]!, { isCommitted: true, isLater: true })]).toEqual([
        first,
        'ran',
      ])
    }
  })

  /** The second one begins when the first has done everything but commit. */
  async function meet(
    stage: Stage,
    first: Deed,
    second: Deed,
    { isCommitted, isLater }: { isCommitted: boolean; isLater: boolean },
  ): Promise<'ran' | 'waited'> {
    const { db } = time
    let how: 'ran' | 'waited' = 'ran'
    let later: Promise<Then> | undefined
    const earlier = db.transaction(async (tx) => {
      const then = await first(stage, openQueue(time, stage.nextId, tx), tx)
      if (isLater) await time.pass(LEASE_SECONDS + 1)
      later = second(stage, openQueue(time, stage.nextId), db)
      how = await ranOrWaited(later)
      if (!isCommitted) throw new Error('rolled back')
      return then
    })
    const happened = await earlier.catch((error: Error) => {
      if (error.message !== 'rolled back') throw error
      return nothing
    })
    happened()
    ;(await later)?.()
    return how
  }

  async function ranOrWaited(work: Promise<unknown>): Promise<'ran' | 'waited'> {
    let isOver = false
    const over = work.catch(() => {}).finally(() => (isOver = true))
    for (;;) {
      await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 2))])
      if (isOver) return 'ran'
      const waiting = await time.db.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      if (waiting.length > 0) return 'waited'
    }
  }
})
