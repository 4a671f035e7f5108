import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { CLEAR, pipeline, putTypes, violations, type Pipeline } from '../../test/pipeline.ts'
import { STATES } from '../core/delivery.ts'
import type { Event } from '../core/event.ts'
import { deliveriesOf } from '../store/event-status.ts'
import { eventById } from '../store/find-event.ts'
import { cancelEvent } from './cancel.ts'
import { withdrawWaiting } from './withdraw.ts'

const TOMORROW = new Date(Date.now() + 86_400_000).toISOString()

let database: FreshDatabase
let steps: Pipeline
/** Another process, whose clock is an hour behind: its row ids are lower. */
let late: Pipeline
beforeAll(async () => {
  database = await freshDatabase()
  steps = pipeline(database.db)
  late = pipeline(database.db, { processNumber: 2, clock: () => Date.now() - 3_600_000 })
  await putTypes(database.db, [
    { type: 'shared', recipients: { path: 'data.user_ids' }, channels: ['inbox', 'mail'] },
    { type: 'price', recipients: { path: 'user_id' }, channels: ['mail'], collapse_path: 'data.film' },
  ])
})
beforeEach(async () => {
  steps.sent.length = 0
  late.sent.length = 0
  await database.db.query(CLEAR)
})
afterAll(async () => {
  await steps.close()
  await late.close()
  await database.close()
})

const update = (id: string, change: Partial<Event> = {}): Partial<Event> => ({
  id,
  title: id,
  type: 'both',
  collapse_key: 'price',
  ...change,
})
const statusOf = async (eventId: string) => {
  const { row_id: rowId } = await eventById(database.db, '', eventId)
  return (await deliveriesOf(database.db, rowId)).map(({ status, reason }) => (reason ? `${status} ${reason}` : status))
}
const titles = async (userId: string) =>
  (
    await database.db.query<{ title: string }>('select title from notification where user_id = $1 order by id', [
      userId,
    ])
  ).map(({ title }) => title)

suite('an event with the collapse key of an earlier one', () => {
  test('supersedes what of that has not been sent, on every channel', async () => {
    await steps.accept(update('first'))
    await steps.accept(update('second'))
    await steps.accept(update('other', { collapse_key: 'other' }))
    await steps.accept(update('of boris', { user_id: 'boris' }))

    expect(await statusOf('first')).toEqual(['SKIPPED superseded', 'SKIPPED superseded'])
    await steps.deliverDue()

    expect(steps.sent.toSorted()).toEqual([
      'inbox anna other',
      'inbox anna second',
      'inbox boris of boris',
      'mail anna other',
      'mail anna second',
      'mail boris of boris',
    ])
    expect(await statusOf('first')).toEqual(['SKIPPED superseded', 'SKIPPED superseded'])
    expect(await statusOf('second')).toEqual(['SENT', 'SENT'])
    expect(await violations(database.db)).toEqual([])
  })

  test('supersedes what waits for a second attempt', async () => {
    await steps.accept(update('first', { type: 'mailed' }))
    const claim = (await steps.ports.queue.claim({ channel: 'mail', lane: 'p2p' }, 1))!
    await steps.ports.queue.finish(claim.leaseId, [
      { id: claim.deliveries[0]!.id, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 },
    ])
    await steps.accept(update('second', { type: 'mailed' }))

    await steps.deliverDue()

    expect(steps.sent).toEqual(['mail anna second'])
    expect(await statusOf('first')).toEqual(['SKIPPED superseded'])
    expect(await violations(database.db)).toEqual([])
  })

  test('reaches what a worker has claimed and not begun', async () => {
    await steps.accept(update('first', { type: 'mailed' }))
    const claim = (await steps.ports.queue.claim({ channel: 'mail', lane: 'p2p' }, 1))!
    await steps.accept(update('second', { type: 'mailed' }))

    await steps.deliver(claim)

    expect(steps.sent).toEqual([])
    expect(await statusOf('first')).toEqual(['SKIPPED superseded'])
  })

  test('is looked for by a claim already, as not every channel asks before it sends', async () => {
    await steps.accept(update('first', { type: 'hooked' }))
    await steps.accept(update('second', { type: 'hooked' }))

    await steps.deliverDue()

    expect(steps.sent).toEqual(['hook anna second'])
  })

  test('leaves what was sent as it is', async () => {
    await steps.accept(update('first'))
    await steps.deliverDue()
    await steps.accept(update('second'))
    await steps.deliverDue()

    expect(await statusOf('first')).toEqual(['SENT', 'SENT'])
    expect(await titles('anna')).toEqual(['second'])
  })

  test('takes the earlier one out of the queue where that waits for its time', async () => {
    await steps.accept(update('first', { send_after: TOMORROW }))
    await steps.accept(update('second'))

    await withdrawWaiting(steps.ports)

    const rows = await database.db.query('select state, reason from delivery order by id limit 2')
    expect(rows).toEqual([1, 2].map(() => ({ state: STATES.skipped, reason: 'superseded' })))
    expect(await database.db.query('select from ready')).toHaveLength(2)
    expect(await violations(database.db)).toEqual([])
  })

  test('does not bring it back when it is cancelled itself, or has expired', async () => {
    const past = new Date(Date.now() - 1000).toISOString()
    await steps.accept(update('first'))
    await steps.accept(update('cancelled'))
    await cancelEvent(steps.ports, '', 'cancelled')
    await steps.accept(update('1', { collapse_key: 'expiring' }))
    await steps.accept(update('2', { collapse_key: 'expiring', expires_at: past }))

    await steps.deliverDue()

    expect(steps.sent).toEqual([])
    expect(await statusOf('first')).toEqual(['SKIPPED superseded', 'SKIPPED superseded'])
    expect(await statusOf('1')).toEqual(['SKIPPED superseded', 'SKIPPED superseded'])
  })

  test.each([
    ['at once', {}],
    ['later', { send_after: TOMORROW }],
  ])('is the one that was accepted later, whatever the clocks of the processes say: %s', async (_, when) => {
    await steps.accept(update('first', when))
    await late.accept(update('second', when))
    await database.db.query('update delivery set run_at = now() where state = 0')
    await database.db.query('update ready set run_at = now()')

    await steps.deliverDue()

    expect(steps.sent.toSorted()).toEqual(['inbox anna second', 'mail anna second'])
    expect(await titles('anna')).toEqual(['second'])
    expect(await violations(database.db)).toEqual([])
  })

  test('replaces what is shown when its own time comes, whatever the clocks say', async () => {
    await steps.accept(update('first'))
    await steps.deliverDue()
    await late.accept(update('second', { send_after: TOMORROW }))
    await database.db.query('update delivery set run_at = now() where state = 0')
    await database.db.query('update ready set run_at = now()')

    await steps.deliverDue()

    expect(await titles('anna')).toEqual(['second'])
    expect(await violations(database.db)).toEqual([])
  })

  test('waits for its key before it locks an inbox, so that nobody waits in a circle', async () => {
    await steps.accept(update('first'))

    const second = await database.db.transaction(async (tx) => {
      await tx.query('select from collapse for update')
      const accepted = steps.accept(update('second'))
      await expect
        .poll(
          () =>
            database.db.query(
              `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
            ),
          { timeout: 10_000 },
        )
        .toHaveLength(1)
      await tx.query('select from inbox for update nowait')
      return { accepted }
    })

    expect((await second.accepted).isReplay).toBe(false)
  })

  test('is one for all when many come at once in several processes, in inbox and mail alike', async () => {
    const user_ids = ['anna', 'boris', 'clara', 'dora', 'egon']
    const events = Array.from({ length: 60 }, (_, index) => ({
      ...update(`${index}`, {
        type: 'shared',
        // In different orders.
        data: { user_ids: index % 2 === 0 ? user_ids : user_ids.toReversed() },
      }),
      user_id: undefined as unknown as string,
    }))

    await Promise.all([
      ...events.slice(0, 20).map((event) => steps.accept(event)),
      ...events.slice(20, 40).map((event) => late.accept(event)),
      late.acceptBatch(events.slice(40, 50)),
      steps.acceptBatch(events.slice(50)),
    ])
    await Promise.all([steps.deliverDue(), late.deliverDue()])

    for (const userId of user_ids) {
      const [last] = await titles(userId)
      const mails = [...steps.sent, ...late.sent].filter((line) => line.startsWith(`mail ${userId}`))
      expect(mails).toEqual([`mail ${userId} ${last}`])
    }
    expect(await violations(database.db)).toEqual([])
  })

  test('by the path of its type: long values that differ are different', async () => {
    const film = 'x'.repeat(400)
    for (const n of [1, 2, 1]) await steps.accept({ type: 'price', title: `film ${n}`, data: { film: `${film}${n}` } })

    await steps.deliverDue()

    expect(steps.sent).toEqual(['mail anna film 2', 'mail anna film 1'])
  })
})
