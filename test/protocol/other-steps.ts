import fc from 'fast-check'
import { expect } from 'vitest'
import type { Lane } from '../../src/core/event.ts'
import { cancelOne } from '../../src/store/cancel-events.ts'
import { endOldDeadLetters } from '../../src/store/retention.ts'
import { addDeliveries } from '../deliveries.ts'
import { CHANNELS, type ChannelName } from './model.ts'
import { lifeAfter, writePast, type Past } from './pasts.ts'
import { DECISION_NAMES, DECISIONS, withdrawAll } from './people.ts'
import { command, draw, pick } from './step.ts'

const DAY_SECONDS = 86_400
const channelNames = Object.keys(CHANNELS) as ChannelName[]

const ANY = {
  count: fc.integer({ min: 1, max: 3 }),
  lane: fc.constantFrom<Lane>('p2p', 'broadcast'),
  channel: fc.constantFrom(...channelNames),
  priority: fc.constantFrom(1, 1, 1, 0, 2),
  // What is stored late, or comes back, was due before.
  inSeconds: fc.constantFrom(0, 0, 0, 10, -400),
  expiresInSeconds: fc.constantFrom(null, null, null, 20),
  campaignId: fc.constantFrom(null, 1, 2),
  isCounted: fc.boolean(),
  past: fc.constantFrom<Past>('none', 'none', 'none', 'crashed twice', 'refused', 'doubtful'),
}

/** Deliveries that are planned, of some kinds where that is wished. */
export const adding = (wished: Partial<typeof ANY> = {}) =>
  fc.record({ ...ANY, ...wished }).map(({ count, expiresInSeconds, campaignId, isCounted, past, ...options }) =>
    command(
      'add',
      [{ count, expiresInSeconds, campaignId, isCounted, past, ...options }],
      async (model, { time, nextId }) => {
        const expires = expiresInSeconds === null ? {} : { expiresInSeconds }
        const campaign = campaignId === null ? {} : { campaignId }
        const ids = await addDeliveries(time.db, nextId, count, { ...options, ...expires, ...campaign })
        const rows = await time.db.query<{ id: string; event_id: string }>(
          `with planned as (select id, event_id from delivery where id = any($1::bigint[])),
         counted as (update event set jobs_count = 1 from planned where event.id = planned.event_id and $2)
         select * from planned order by id`,
          [ids, isCounted],
        )
        const life = lifeAfter(past)
        if (past !== 'none') await writePast(time.db, ids, life)
        for (const { id, event_id: eventId } of rows) {
          model.add({
            id,
            eventId,
            isCounted,
            life,
            channel: options.channel,
            lane: options.lane,
            priority: options.priority,
            runAtMs: time.nowMs() + options.inSeconds * 1000,
            expiresAtMs: expiresInSeconds === null ? null : time.nowMs() + expiresInSeconds * 1000,
          })
        }
      },
    ),
  )

export const passing = (...times: number[]) =>
  fc.constantFrom(...times).map((seconds) => command('pass', [seconds], (_model, { time }) => time.pass(seconds)))

export const cancel = draw.map((d) =>
  command('cancel', [d], async (model, { time }) => {
    const open = [...model.deliveries.values()].filter(({ life }) => d % 5 === 0 || life.stage !== 'settled')
    const delivery = pick(open, d)
    if (delivery) expect(await cancelOne(time.db, '', delivery.eventId)).toBe(model.cancel(delivery.id))
  }),
)

export const withdraw = fc.constant(
  command('withdraw', [], async (model, { time }) => {
    expect(await withdrawAll(time.db)).toBe(model.withdrawAll())
  }),
)

/** Mostly about a dead letter, now and then about what is none. */
export const decide = fc.tuple(draw, fc.constantFrom(...DECISION_NAMES), fc.nat({ max: 9 })).map(([d, name, whim]) =>
  command('decide', [d, name, whim], async (model, real) => {
    const letters = [...model.deliveries.values()].filter(({ life }) => whim === 0 || life.stage === 'letter')
    const delivery = pick(letters, d)
    if (!delivery) return

    const isDone = await DECISIONS[name](real.time.db, delivery.id)
    if (isDone && name.startsWith('send ')) real.world.sendAgain(delivery.id)

    expect(isDone).toBe(model.decide(delivery.id, name))
  }),
)

/** Dead letters of more than a day, at once or after two days. */
export const forget = fc.boolean().map((isLater) =>
  command('forget', [isLater], async (model, { time }) => {
    if (isLater) await time.pass(2 * DAY_SECONDS)
    expect(await endOldDeadLetters(time.db, 1, 1000)).toBe(model.forget(DAY_SECONDS))
  }),
)
