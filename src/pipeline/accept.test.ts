import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { Event } from '../core/event.ts'
import type { EventTypeDefinition } from '../core/event-type.ts'
import { idGenerator } from '../core/id.ts'
import { metrics } from '../metrics.ts'
import { postgresQueue } from '../queue/postgres.ts'
import { NO_INSTANT_LANE } from '../store/instant-claims.ts'
import { eventTypes } from '../store/event-types.ts'
import { coalescedAccepts } from '../store/coalesced-accepts.ts'
import { insertEventType, putEventType } from '../store/event-type.ts'
import { accept, acceptBatch, type AcceptPorts, type Incoming } from './accept.ts'
import { cancelByKey, cancelEvent } from './cancel.ts'

const NAMES = { type: 'type', data: 'data' }

suite('accepting an event', () => {
  let database: FreshDatabase
  let ports: AcceptPorts

  beforeAll(async () => {
    database = await freshDatabase()
    const { db } = database
    const nextId = idGenerator(() => 1)
    const queue = postgresQueue({ db, nextId, workerId: crypto.randomUUID(), leaseSeconds: 30 })
    ports = {
      db,
      nextId,
      metrics: metrics(),
      eventTypes: eventTypes({ db }),
      queue,
      accepts: coalescedAccepts(db, queue, {
        ...NO_INSTANT_LANE,
        newLease: () => ({ leaseId: nextId(), workerId: crypto.randomUUID(), leaseSeconds: 30 }),
      }),
      channels: new Map([
        ['ws', { name: 'ws', isInbox: true }],
        ['email', { name: 'email', isInbox: false }],
      ]) as unknown as AcceptPorts['channels'],
    }
    const types: EventTypeDefinition[] = [
      { type: 'job.done', recipients: { path: 'user_id' }, channels: ['ws', 'push'] },
      {
        type: 'job.progress',
        recipients: { path: 'user_id' },
        channels: ['ws'],
        collapse_path: 'data.job_id',
        is_silent: true,
      },
      { type: 'booking_created', recipients: { path: 'data.user_ids' }, channels: ['ws', 'email'] },
    ]
    for (const type of types) await insertEventType(db, '', type)
  })
  afterAll(() => database.close())

  const count = async (table: string): Promise<number> => {
    const [row] = await database.db.query<{ count: number }>(`select count(*)::integer as count from ${table}`)
    return row!.count
  }
  const inboxOf = (userId: string) =>
    database.db.query<{ seq: string | null; title: string; read_at: string | null }>(
      'select seq, title, read_at from notification where user_id = $1 order by id',
      [userId],
    )

  test('stores it with its notification, its deliveries, its work and the reason for what was left out', async () => {
    const { event_id: eventId, jobs_count: jobs } = await accept(ports, '', incoming({ user_id: 'whole' }))

    expect(jobs).toBe(1)
    expect(await inboxOf('whole')).toEqual([{ seq: '1', title: 'Done', read_at: null }])
    const [left] = await database.db.query(
      `select channel, reason from trace where event_id = (select id from event where event_id = $1)`,
      [eventId],
    )
    expect(left).toEqual({ channel: 'push', reason: 'channel_not_installed' })
    const work = await database.db.query(
      `select from ready join delivery using (id) join event on event.id = delivery.event_id where event.event_id = $1`,
      [eventId],
    )
    expect(work).toHaveLength(1)
  })

  test('numbers the changes of one inbox without gaps, however many arrive at once', async () => {
    await Promise.all(Array.from({ length: 50 }, () => accept(ports, '', incoming({ user_id: 'busy' }))))

    const seqs = (await inboxOf('busy')).map((row) => Number(row.seq)).toSorted((a, b) => a - b)
    expect(seqs).toEqual(Array.from({ length: 50 }, (_, index) => index + 1))
  })

  test('gives the first answer again for the same id and body', async () => {
    const first = await accept(ports, '', incoming({ id: 'twice', user_id: 'twice' }))
    const second = await accept(ports, '', incoming({ id: 'twice', user_id: 'twice' }))

    expect(first).toEqual({ event_id: 'twice', jobs_count: 1, isReplay: false })
    expect(second).toEqual({ ...first, isReplay: true })
    expect(await inboxOf('twice')).toHaveLength(1)
  })

  test('refuses a known id with another body, and a known key with another body', async () => {
    await accept(ports, '', incoming({ id: 'known' }), 'key-1')

    await expect(accept(ports, '', incoming({ id: 'known', title: 'Other' }))).rejects.toMatchObject({
      code: 'mismatch',
    })
    await expect(accept(ports, '', incoming({ id: 'new' }), 'key-1')).rejects.toMatchObject({ code: 'mismatch' })
    await expect(accept(ports, '', incoming({ id: 'new' }))).resolves.toMatchObject({ isReplay: false })
  })

  test('keeps companies apart: the same id is two events', async () => {
    const one = await accept(ports, 'one', incoming({ id: 'shared' }))
    const two = await accept(ports, 'two', incoming({ id: 'shared' }))

    expect([one.isReplay, two.isReplay]).toEqual([false, false])
  })

  test('answers two hundred identical requests at once with one event', async () => {
    const event = incoming({ id: 'stampede', user_id: 'stampede' })

    const ends = await Promise.allSettled(Array.from({ length: 200 }, () => accept(ports, '', event)))

    const failures = ends.filter((end) => end.status === 'rejected').map((end) => (end.reason as { code: string }).code)
    expect(new Set(failures)).toEqual(new Set(['conflict']))
    expect(await inboxOf('stampede')).toHaveLength(1)
  })

  test('gives the first answer again although the type would refuse the event today', async () => {
    const type: EventTypeDefinition = { type: 'changing', recipients: { path: 'user_id' }, channels: ['ws'] }
    const stored = await insertEventType(database.db, '', type)
    const first = await accept(ports, '', incoming({ id: 'changed', type: 'changing' }), 'changed-key')
    const list = [incoming({ id: 'changed-in-list', type: 'changing' })]
    const firstList = await acceptBatch(ports, '', list, 'changed-list-key')
    await putEventType(database.db, '', {
      ...type,
      schema: { type: 'object', required: ['never'] },
    })
    ports.eventTypes.changed()

    await expect(accept(ports, '', incoming({ id: 'changed', type: 'changing' }), 'changed-key')).resolves.toEqual({
      ...first,
      isReplay: true,
    })
    await expect(acceptBatch(ports, '', list, 'changed-list-key')).resolves.toEqual({
      events: firstList.events.map((event) => ({ ...event, isReplay: true })),
      isReplay: true,
    })
    await expect(acceptBatch(ports, '', list, 'another-key')).rejects.toMatchObject({ code: 'invalid' })
    await expect(accept(ports, '', incoming({ id: 'unseen', type: 'changing' }))).rejects.toMatchObject({
      code: 'invalid',
    })
    expect(stored.version).toBe(1)
  })

  test('counts the time to live by the database, from when the event is due', async () => {
    await insertEventType(database.db, '', {
      type: 'short',
      recipients: { path: 'user_id' },
      channels: ['ws'],
      time_to_live_seconds: 60,
    })

    await accept(ports, '', incoming({ id: 'short-lived', type: 'short' }))

    const [row] = await database.db.query<{ seconds: number }>(
      `select extract(epoch from expires_at - created_at)::integer as seconds from delivery
       join event on event.id = delivery.event_id where event.event_id = 'short-lived'`,
    )
    expect(row?.seconds).toBe(60)
  })

  test('counts from now how long it waits, also one that comes too late', async () => {
    const past = '2020-03-01T09:30:00.000Z'

    await accept(ports, '', incoming({ id: 'late', expires_at: past }))
    await accept(
      ports,
      '',
      incoming({ id: 'late-and-put-off', expires_at: past, send_after: '2020-03-01T09:00:00.000Z' }),
    )

    const waits = await database.db.query<{ seconds: number }>(
      `select extract(epoch from now() - ready.run_at)::integer as seconds from ready join delivery using (id)
       join event on event.id = delivery.event_id where event.event_id like 'late%'`,
    )
    expect(waits.map(({ seconds }) => seconds < 60)).toEqual([true, true])
  })

  test('stores a batch as a whole or not at all', async () => {
    const before = await count('event')
    const good = incoming({ user_id: 'batch' })
    const bad = incoming({ type: 'no.such.type' })

    await expect(acceptBatch(ports, '', [good, bad])).rejects.toMatchObject({
      code: 'invalid',
      fields: [{ field: 'events[1].type' }],
    })
    expect(await count('event')).toBe(before)

    const { events } = await acceptBatch(ports, '', [good, good, good])
    expect(events).toHaveLength(3)
    expect((await inboxOf('batch')).map((row) => row.seq)).toEqual(['1', '2', '3'])
  })

  test('replays a batch by its key, and single events of it by their ids', async () => {
    const items = ['batch-a', 'batch-b'].map((id) => incoming({ id }))

    const first = await acceptBatch(ports, '', items, 'batch-key')
    const second = await acceptBatch(ports, '', items, 'batch-key')
    const third = await acceptBatch(ports, '', [items[0]!, incoming({ id: 'batch-c' })])

    expect([first.isReplay, second.isReplay]).toEqual([false, true])
    expect(second.events.map((event) => event.event_id)).toEqual(['batch-a', 'batch-b'])
    expect(third.events.map((event) => event.isReplay)).toEqual([true, false])
    await expect(acceptBatch(ports, '', [items[0]!], 'batch-key')).rejects.toMatchObject({ code: 'mismatch' })
  })

  test('shows the progress of one job in one place, without counting it as unread', async () => {
    await accept(ports, '', progress(10))
    await acceptBatch(ports, '', [progress(20), progress(30)])

    expect(await inboxOf('progress')).toEqual([{ seq: '3', title: '30 %', read_at: expect.any(String) }])
  })

  test('tells the people whom the rule names, but not the one who did it', async () => {
    const event = { type: 'booking_created', data: { user_ids: [1, 'admin', 1] }, initiated_by: { user_id: 'admin' } }
    const { user_id: _, ...domain } = incoming(event).event

    const accepted = await accept(ports, '', { ...incoming(event), event: domain })

    expect(accepted.jobs_count).toBe(2)
    const traces = await database.db.query(
      'select user_id, reason from trace where event_id = (select id from event where event_id = $1)',
      [accepted.event_id],
    )
    expect(traces).toEqual([{ user_id: 'admin', reason: 'initiator' }])
  })

  test.each([
    ['an unknown type', { type: 'no.such' }, 'type'],
    ['an unknown channel', { channels: ['ws', 'pigeon'] }, 'channels[1]'],
    ['recipients that are none', { type: 'booking_created', user_id: undefined, data: {} }, 'data.user_ids'],
    [
      'a recipient that is no id',
      { type: 'booking_created', user_id: undefined, data: { user_ids: ['a', {}] } },
      'data.user_ids[1]',
    ],
  ])('refuses %s, naming the field', async (_, event, field) => {
    const before = await count('event')

    await expect(accept(ports, '', incoming(event as Partial<Event>))).rejects.toMatchObject({
      code: 'invalid',
      fields: [{ field }],
    })
    expect(await count('event')).toBe(before)
  })

  test('keeps what is for later out of sight', async () => {
    const later = new Date(Date.now() + 60_000).toISOString()

    await accept(ports, '', incoming({ user_id: 'later', send_after: later }))

    expect(await inboxOf('later')).toEqual([])
  })

  test('cancels what waits, by id and by key, and says how much that was', async () => {
    const later = new Date(Date.now() + 60_000).toISOString()
    await accept(ports, '', incoming({ id: 'cancel-1', send_after: later, cancellation_key: 'trip' }))
    await accept(ports, '', incoming({ id: 'cancel-2', send_after: later, cancellation_key: 'trip' }))

    await expect(cancelEvent(ports, 'other company', 'cancel-1')).rejects.toMatchObject({ code: 'not-found' })
    expect(await cancelEvent(ports, '', 'cancel-1')).toBe(1)
    expect(await cancelEvent(ports, '', 'cancel-1')).toBe(0)
    expect(await cancelByKey(ports, '', 'trip')).toEqual({ events: 1, deliveries: 1 })
  })
})

function incoming(event: Partial<Event>, names = NAMES): Incoming {
  const whole = { type: 'job.done', user_id: 'anna', title: 'Done', body: 'Look', data: {}, ...event } as Event
  return { event: whole, body: whole, names }
}

const progress = (percent: number) =>
  incoming({ type: 'job.progress', user_id: 'progress', title: `${percent} %`, data: { job_id: 'j1', percent } })
