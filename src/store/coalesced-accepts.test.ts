import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { AppError } from '../core/errors.ts'
import { idGenerator } from '../core/id.ts'
import type { Db } from '../db/db.ts'
import { postgresQueue } from '../queue/postgres.ts'
import type { Claim, InstantLane, Notice, Queue } from '../queue/queue.ts'
import { coalescedAccepts } from './coalesced-accepts.ts'
import type { EventRows } from './event-rows.ts'

const nextId = idGenerator(() => 1)
/** No lane has this number: the database refuses the row, and with it the statement. */
const NO_LANE = 40_000

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() =>
  database.db.query('truncate idem, event, delivery, ready, lease, notification, inbox, thread, thread_waiting'),
)

suite('events that are accepted at the same time', () => {
  test('share statements and their commits', async () => {
    const { accepts } = open()

    const ends = await Promise.all(Array.from({ length: 300 }, () => accepts.store(rows())))

    expect(ends).toEqual(Array.from({ length: 300 }, () => true))
    const commits = await database.db.query<{ events: number }>(
      'select count(*)::integer as events from event group by xmin',
    )
    expect(commits.reduce((sum, { events }) => sum + events, 0)).toBe(300)
    // Two as a rule; halves of what is left where the first one ends before the second begins.
    expect(commits.length).toBeLessThanOrEqual(6)
  })

  test('do not suffer for one that cannot be stored', async () => {
    const opened = open()
    const good = Array.from({ length: 10 }, () => rows())
    const bad = rows({ lane: NO_LANE })

    const ends = await Promise.allSettled(
      [...good.slice(0, 5), bad, ...good.slice(5)].map((one) => opened.accepts.store(one)),
    )

    expect(ends.map(({ status }) => status)).toEqual([
      ...Array.from({ length: 5 }, () => 'fulfilled'),
      'rejected',
      ...Array.from({ length: 5 }, () => 'fulfilled'),
    ])
    expect(await idsIn('event')).toEqual(good.map(({ id }) => id))
    expect(await idsIn('ready')).toEqual(good.flatMap(({ deliveries }) => deliveries.map(({ id }) => id)))
    expect(opened.wakes).toBeGreaterThan(0)
  })

  test('are stored once for each key, and the others are told', async () => {
    const { accepts } = open()
    const keys = [randomUUID()]
    await accepts.store(rows({ keys }))

    const ends = await Promise.all([accepts.store(rows({ keys })), accepts.store(rows())])

    expect(ends).toEqual([false, true])
    expect(await idsIn('event')).toHaveLength(2)
  })

  test('are stored although others of them came before, and so are those with two keys', async () => {
    const { accepts } = open()
    const [own, request, known] = [randomUUID(), randomUUID(), randomUUID()]
    await accepts.store(rows({ keys: [known] }))

    const ends = await Promise.all([
      accepts.store(rows({ keys: [own, known] })),
      accepts.store(rows({ keys: [known] })),
      accepts.store(rows({ keys: [own] })),
      accepts.store(rows({ keys: [request, randomUUID()] })),
    ])

    expect(ends).toEqual([false, false, true, true])
    expect(await idsIn('event')).toHaveLength(3)
    expect(await database.db.query('select from idem')).toHaveLength(4)
  })

  test('end at the last of 3,000 updates that show themselves in one place', async () => {
    const { accepts } = open()
    const updates = Array.from({ length: 3000 }, (_, index) => update('anna', 'job-1', `${index + 1}`))

    const ends = await Promise.all(updates.map((one) => accepts.store(one)))

    expect(ends).toEqual(updates.map(() => true))
    expect(await places()).toEqual([{ user_id: 'anna', title: '3000', seq: '3000' }])
  }, 60_000)

  test('wait for an update of the same place that is being stored, and hold back nobody else', async () => {
    const { accepts } = open()
    await accepts.store(update('anna', 'job-1', '1'))

    const { second, third, other } = await database.db.transaction(async (tx) => {
      await tx.query('select from inbox for update')
      const second = accepts.store(update('anna', 'job-1', '2'))
      await expect.poll(waiting, { timeout: 10_000, interval: 10 }).toBe(1)
      const third = accepts.store(update('anna', 'job-1', '3'))
      const other = accepts.store(update('boris', 'job-1', '1'))
      await expect.poll(() => idsIn('event'), { timeout: 10_000, interval: 10 }).toHaveLength(2)
      return { second, third, other }
    })
    const ends = await Promise.all([second, third, other])

    expect(ends).toEqual([true, true, true])
    expect(await places()).toEqual([
      { user_id: 'anna', title: '3', seq: '3' },
      { user_id: 'boris', title: '1', seq: '1' },
    ])
  })

  test('are in their thread in the order in which they came, though two statements run at a time', async () => {
    const { accepts } = open()
    await accepts.store(inThread('chat'))

    const { stored } = await database.db.transaction(async (tx) => {
      await tx.query('select from thread for update')
      const stored = [accepts.store(inThread('chat'))]
      await expect.poll(waiting, { timeout: 10_000, interval: 10 }).toBe(1)
      stored.push(...Array.from({ length: 40 }, () => accepts.store(inThread('chat'))))
      await Promise.all([accepts.store(inThread('other')), accepts.store(rows({ channels: ['mail'] }))])
      expect(await waiting()).toBe(1)
      return { stored }
    })
    await Promise.all(stored)

    const places = await database.db.query<{ delivery_id: string }>(
      'select delivery_id from thread_waiting order by place',
    )
    expect(places).toHaveLength(41)
    expect(places.map((row) => row.delivery_id)).toEqual(places.map((row) => row.delivery_id).toSorted())
    // They share statements none the less.
    expect((await database.db.query('select from delivery group by xmin')).length).toBeLessThan(10)
  })

  test('end at the last update of each place, and those of different places do not wait for each other', async () => {
    const { accepts } = open()
    const userIds = Array.from({ length: 20 }, (_, index) => `user-${10 + index}`)
    const updates = Array.from({ length: 10 }, (_, index) =>
      userIds.map((userId) => update(userId, 'job-1', `${index + 1}`)),
    )

    await Promise.all(updates.flat().map((one) => accepts.store(one)))

    expect(await places()).toEqual(userIds.map((userId) => ({ user_id: userId, title: '10', seq: '10' })))
    const statements = await database.db.query('select from event group by xmin')
    expect(statements.length).toBeLessThanOrEqual(2 * 10)
  })
})

suite('the word of new work', () => {
  const notice = { channel: 'work_in_test', payload: 'here' }

  async function heard<Result>(work: () => Promise<Result>): Promise<string[]> {
    const messages: string[] = []
    const listening = await database.db.listen(notice.channel, (message) => messages.push(message))
    await work()
    await database.db.query('select pg_notify($1, $2)', [notice.channel, 'last'])
    await expect.poll(() => messages.at(-1), { timeout: 10_000 }).toBe('last')
    await listening.stop()
    return messages
  }

  test.each([
    ['plain', () => rows()],
    ['with an inbox', () => rows({ ...update('anna', 'job-1', '1'), deliveries: rows().deliveries })],
    ['with a key', () => rows({ keys: [randomUUID()] })],
  ])('goes out with the commit of an event alone: %s', async (_, event) => {
    const opened = open({ notice })

    expect(await heard(() => opened.accepts.store(event()))).toEqual(['here', 'last'])
    expect([opened.wakes, opened.told]).toEqual([1, 1])
    expect(await idsIn('event')).toHaveLength(1)
  })

  test('does not go out for what is not stored', async () => {
    const opened = open({ notice })
    const keys = [randomUUID()]
    await opened.accepts.store(rows({ keys }))

    expect(await heard(() => opened.accepts.store(rows({ keys })))).toEqual(['last'])
    expect(opened.wakes).toBe(1)
  })

  test('is left to a statement of its own when many come together, and when their process sends', async () => {
    const together = open({ notice })
    const sending = open({ notice, freeSlots: 5 })

    expect(await heard(() => Promise.all([rows(), rows()].map((one) => together.accepts.store(one))))).toEqual(['last'])
    expect(await heard(() => sending.accepts.store(rows({ channels: ['mail'] })))).toEqual(['last'])
    expect([together.told, sending.told]).toEqual([0, 0])
  })
})

suite('what is sent at once', () => {
  test('needs a slot, except for what is shown in the inbox', async () => {
    const full = open({ freeSlots: 0 })
    const event = rows({ channels: ['inbox', 'mail'] })
    const [shown, waiting] = event.deliveries

    await full.accepts.store(event)

    expect(idsOf(full.shown)).toEqual([shown?.id])
    expect(idsOf(full.ran)).toEqual([])
    expect(await idsIn('ready')).toEqual([waiting?.id])
    expect(await database.db.query('select id, ids from lease')).toEqual([
      { id: full.shown[0]?.leaseId, ids: [shown?.id] },
    ])
    expect(full.wakes).toBe(1)
  })

  test('is held under two leases, so that the inbox does not wait for a mail', async () => {
    const opened = open({ freeSlots: 5 })
    const event = rows({ channels: ['inbox', 'mail'] })
    const [shown, mailed] = event.deliveries

    await opened.accepts.store(event)

    expect([idsOf(opened.shown), idsOf(opened.ran)]).toEqual([[shown?.id], [mailed?.id]])
    expect(opened.freeSlots).toBe(4)
    expect(await database.db.query('select id, ids from lease order by id')).toEqual([
      { id: opened.shown[0]?.leaseId, ids: [shown?.id] },
      { id: opened.ran[0]?.leaseId, ids: [mailed?.id] },
    ])
    expect(await idsIn('ready')).toEqual([])
  })

  test('is held by channel, as started where the channel says so', async () => {
    const opened = open({ freeSlots: 5 })
    const event = rows({ channels: ['mail', 'sms', 'inbox'] })

    await opened.accepts.store(event)

    const leases = await database.db.query<{ ids: string[]; started: boolean }>('select ids, started from lease')
    const idOf = (channel: string) => event.deliveries.find((one) => one.channel === channel)!.id
    expect(leases.toSorted((a, b) => a.ids[0]!.localeCompare(b.ids[0]!))).toEqual([
      { ids: [idOf('mail')], started: true },
      { ids: [idOf('sms')], started: false },
      { ids: [idOf('inbox')], started: false },
    ])
    expect(opened.ran.map(({ channel, isStarted }) => [channel, isStarted])).toEqual([
      ['mail', true],
      ['sms', false],
    ])
  })

  test('gives back the slots of what was not stored', async () => {
    const opened = open({ freeSlots: 5 })
    const keys = [randomUUID()]
    await open().accepts.store(rows({ keys }))

    const isStored = await opened.accepts.store(rows({ keys, channels: ['mail'] }))
    const failure = await opened.accepts
      .store(rows({ event_type_id: 'none', channels: ['mail'] }))
      .catch((error: unknown) => error)

    expect(isStored).toBe(false)
    expect(failure).toBeInstanceOf(Error)
    expect(opened.freeSlots).toBe(5)
    expect(opened.ran).toEqual([])
  })

  test('goes back to the queue, and counts as begun no more, where nobody knows whether it was stored', async () => {
    const opened = open({ freeSlots: 5, db: deaf(), queueDb: awayAtFirst() })
    const event = rows({ channels: ['mail', 'inbox'] })

    await expect(opened.accepts.store(event)).rejects.toMatchObject({ code: 'unavailable' })

    await expect.poll(() => idsIn('ready'), { timeout: 3000 }).toEqual(event.deliveries.map(({ id }) => id))
    expect(await database.db.query('select from lease')).toEqual([])
    expect([opened.freeSlots, opened.ran, opened.shown]).toEqual([5, [], []])
  })
})

/** Its statements are carried out, and their answers are lost. */
function deaf(): Db {
  const query: Db['query'] = async (...given) => {
    await database.db.query(...given)
    throw new AppError('unavailable', 'The database is away')
  }
  return { ...database.db, query, stream: { query } }
}

/** Refuses the first statement. */
function awayAtFirst(): Db {
  let statements = 0
  const query: Db['query'] = async (...given) => {
    if (statements++ === 0) throw new AppError('unavailable', 'The database is away')
    return database.db.query(...given)
  }
  return { ...database.db, query }
}

/** The accepts of a process with so many free slots; none at all: it sends nothing itself. */
function open({
  freeSlots,
  notice = null,
  db = database.db,
  queueDb = database.db,
}: { freeSlots?: number; notice?: Notice | null; db?: Db; queueDb?: Db } = {}) {
  const opened = { wakes: 0, told: 0, freeSlots: freeSlots ?? 0, shown: [] as Claim[], ran: [] as Claim[] }
  const lane: InstantLane = {
    reserve(_channel, count) {
      if (count > opened.freeSlots) return false
      opened.freeSlots -= count
      return true
    },
    release(_channel, count) {
      opened.freeSlots += count
    },
    newLease: () => ({ leaseId: nextId(), workerId: randomUUID(), leaseSeconds: 30 }),
    run: (claim) => void opened.ran.push(claim),
    isStarted: (channel) => channel === 'mail',
    canShow: () => freeSlots !== undefined,
    show: (claim) => void opened.shown.push(claim),
  }
  const wake: Queue['wake'] = (_places, areOthersTold = false) => {
    opened.wakes += 1
    if (areOthersTold) opened.told += 1
  }
  const queue = postgresQueue({ db: queueDb, nextId, workerId: randomUUID(), leaseSeconds: 30 })
  return Object.assign(opened, { accepts: coalescedAccepts(db, { ...queue, wake, notice: () => notice }, lane) })
}

function rows({ channels = ['inbox'], ...change }: Partial<EventRows> & { channels?: string[] } = {}): EventRows {
  const [id, notificationId] = [nextId(), nextId()]
  return {
    id,
    keys: [],
    body_hash: '00',
    company_id: '',
    event_id: id,
    type: 'job.done',
    event_type_id: '1',
    payload: { type: 'job.done', data: {} },
    jobs_count: channels.length,
    lane: 0,
    priority: 1,
    cancellation_key: null,
    collapse_key: null,
    dedupe: null,
    notifications: [],
    deliveries: channels.map((channel) => ({
      id: nextId(),
      notification_id: notificationId,
      user_id: 'anna',
      channel,
      send_after: null,
      expires_at: null,
      time_to_live_seconds: null,
      is_inbox: channel === 'inbox',
      thread: null,
    })),
    traces: [],
    ...change,
  }
}

/** An event that replaces what an earlier one of the same key shows. */
function update(userId: string, collapseKey: string, title: string): EventRows {
  const event = rows({
    payload: { type: 'job.progress', title, data: {} },
    collapse_key: collapseKey,
    notifications: [{ id: nextId(), user_id: userId, level: 'info', is_read: false, collapse_key: collapseKey }],
  })
  return { ...event, deliveries: event.deliveries.map((delivery) => ({ ...delivery, user_id: userId })) }
}

function inThread(name: string): EventRows {
  const event = rows({ channels: ['mail'] })
  const thread = `00000000-0000-4000-8000-${Buffer.from(name.padEnd(6)).toString('hex')}`
  return { ...event, deliveries: event.deliveries.map((delivery) => ({ ...delivery, thread })) }
}

const idsOf = (claims: Claim[]): string[] => claims.flatMap(({ deliveries }) => deliveries.map(({ id }) => id))

async function idsIn(table: 'event' | 'ready'): Promise<string[]> {
  const found = await database.db.query<{ id: string }>(`select id from ${table} order by id`)
  return found.map(({ id }) => id)
}

async function waiting(): Promise<number> {
  const found = await database.db.query(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return found.length
}

const places = () =>
  database.db.query<{ user_id: string; title: string; seq: string }>(
    'select user_id, title, seq from notification order by user_id',
  )
