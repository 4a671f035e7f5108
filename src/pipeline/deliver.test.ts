import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { Channel } from '../channels/channel.ts'
import { STATES } from '../core/delivery.ts'
import { DeliveryError } from '../core/errors.ts'
import type { Event, Lane } from '../core/event.ts'
import type { EventTypeDefinition } from '../core/event-type.ts'
import { idGenerator } from '../core/id.ts'
import { oneAtATime } from '../core/one-at-a-time.ts'
import { connect } from '../db/pool.ts'
import type { Directory } from '../directory/directory.ts'
import { databaseDirectory } from '../directory/database.ts'
import { metrics } from '../metrics.ts'
import type { Claim } from '../queue/queue.ts'
import { postgresQueue } from '../queue/postgres.ts'
import { liquidRenderer } from '../render/liquid-renderer.ts'
import { coalescedAccepts } from '../store/coalesced-accepts.ts'
import { NO_INSTANT_LANE } from '../store/instant-claims.ts'
import { insertEventType } from '../store/event-type.ts'
import { eventTypes } from '../store/event-types.ts'
import { accept, type AcceptPorts } from './accept.ts'
import { cancelEvent } from './cancel.ts'
import { deliver } from './deliver.ts'
import { startWorker } from './worker.ts'

type TestPorts = Parameters<typeof deliver>[0] & AcceptPorts

const OPTIONS = {
  defaultLocale: 'en',
  publicUrl: () => 'http://localhost',
  leaseSeconds: 30,
  sendTimeoutSeconds: 30,
  uncertainResendSeconds: 0,
  alone: oneAtATime(),
}
const TYPES: EventTypeDefinition[] = [
  { type: 'shown', recipients: { path: 'user_id' }, channels: ['inbox'] },
  { type: 'mailed', recipients: { path: 'user_id' }, channels: ['mail'] },
  { type: 'progress', recipients: { path: 'user_id' }, channels: ['inbox'], collapse_path: 'data.job' },
]
const renderer = liquidRenderer()
/** What the channels were asked to send, in order. */
const sent: string[] = []
const mail: Channel = {
  name: 'mail',
  bodyFormat: 'text',
  isInbox: false,
  prefersOwnText: true,
  isIdempotent: false,
  onUncertain: 'resend',
  retrySeconds: [0, 0],
  address: ({ user_id: userId }) => ({ id: '1', channel: 'mail', value: userId, state: 'active' }),
  send: async ({ value }) => {
    sent.push(`mail to ${value}`)
    return {}
  },
}
const inbox: Channel = {
  ...mail,
  name: 'inbox',
  isInbox: true,
  isIdempotent: true,
  send: async (_, { notification, isUpdate }) => {
    sent.push(`${notification.title} ${isUpdate ? 'in the same place' : 'new'}`)
    return {}
  },
}

let database: FreshDatabase
let ports: TestPorts
beforeAll(async () => {
  database = await freshDatabase()
  const { db } = database
  const nextId = idGenerator(() => 1)
  const queue = postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: 30, resendAfterSeconds: 0 })
  ports = {
    db,
    nextId,
    queue,
    renderer,
    metrics: metrics(),
    eventTypes: eventTypes({ db }),
    directory: databaseDirectory(db),
    log: pino({ level: 'silent' }),
    channels: new Map([inbox, mail].map((channel) => [channel.name, channel])),
    // Everything goes through the queue here.
    accepts: coalescedAccepts(db, queue, {
      ...NO_INSTANT_LANE,
      newLease: () => ({ leaseId: nextId(), workerId: randomUUID(), leaseSeconds: 30 }),
    }),
  }
  for (const type of TYPES) await insertEventType(db, '', type)
})
afterAll(async () => {
  await renderer.close()
  await database.close()
})
beforeEach(async () => {
  sent.length = 0
  await database.db.query(
    'truncate idem, event, delivery, ready, lease, intent, dead, attempt_log, notification, inbox',
  )
})

const send = (event: Partial<Event>) => {
  const whole = { user_id: 'anna', title: 'Title', body: 'Body', data: {}, ...event } as Event
  return accept(ports, '', { event: whole, body: whole, names: { type: 'type', data: 'data' } })
}
const progress = (title: string, change: Partial<Event> = {}) =>
  send({ type: 'progress', title, data: { job: 1 }, ...change })
const claim = async (lane: Lane = 'p2p'): Promise<Claim> => {
  const claims = await Promise.all(
    [...ports.channels.keys()].map((channel) => ports.queue.claim({ channel, lane }, 10)),
  )
  return claims.find((one) => one !== null)!
}
const run = (held: Claim, change: Partial<TestPorts> = {}, options = OPTIONS) =>
  deliver({ ...ports, ...change }, options, held, new AbortController().signal)
const only = (channel: Channel) => ({ channels: new Map([[channel.name, channel]]) })
const makeDue = async () => {
  await database.db.query('update delivery set run_at = now() where state = 0')
  await database.db.query('update ready set run_at = now()')
}
const inboxOf = (userId: string) =>
  database.db.query<{ title: string; seq: string | null }>(
    'select title, seq from notification where user_id = $1 order by id',
    [userId],
  )
const outcomes = () =>
  database.db.query<{ state: number; attempt: number; reason: string | null }>(
    'select state, attempt, reason from delivery order by id',
  )

suite('events that show themselves in one place', () => {
  test.each([
    ['at once', {}],
    ['when their time comes', { send_after: new Date(Date.now() + 3_600_000).toISOString() }],
  ])('end at the later one, also when it is delivered first: shown %s', async (_, when) => {
    await progress('10 %', when)
    await progress('20 %', when)
    await makeDue()
    const held = await claim()

    for (const delivery of held.deliveries.toReversed()) await run({ ...held, deliveries: [delivery] })

    expect((await inboxOf('anna')).map(({ title }) => title)).toEqual(['20 %'])
    expect(sent).toHaveLength(1)
    expect(await outcomes()).toMatchObject([
      { state: STATES.skipped, reason: 'superseded' },
      { state: STATES.sent, reason: null },
    ])
  })

  test('end at the last one when all are delivered at the same moment', async () => {
    const later = { send_after: new Date(Date.now() + 3_600_000).toISOString() }
    for (let percent = 10; percent <= 100; percent += 10) await progress(`${percent} %`, later)
    await makeDue()

    await run(await claim())

    expect((await inboxOf('anna')).map(({ title }) => title)).toEqual(['100 %'])
  })

  test('are new the first time and an update from then on', async () => {
    for (const title of ['10 %', '20 %', '30 %']) {
      await progress(title)
      await run(await claim())
    }

    expect(sent).toEqual(['10 % new', '20 % in the same place', '30 % in the same place'])
  })
})

suite('a cancelled event', () => {
  test('is not shown by the retry of a delivery that was under way', async () => {
    await send({ id: 'cancelled', type: 'shown' })
    const held = await claim()
    await cancelEvent(ports, '', 'cancelled')
    await ports.queue.finish(held.leaseId, [
      { id: held.deliveries[0]!.id, state: 'retry', verdict: 'retry', reason: 'busy', afterSeconds: 0 },
    ])

    await run(await claim('retry'))

    expect(sent).toEqual([])
    expect(await outcomes()).toMatchObject([{ state: STATES.cancelled, attempt: 1 }])
  })

  test('is neither mailed nor noted in the history when it is claimed already', async () => {
    await send({ id: 'cancelled', type: 'mailed' })
    const held = await claim()
    await cancelEvent(ports, '', 'cancelled')

    await run(held)

    expect(sent).toEqual([])
    expect(await inboxOf('anna')).toEqual([])
    expect(await outcomes()).toMatchObject([{ state: STATES.cancelled, attempt: 0 }])
  })

  test('would have been mailed and noted otherwise', async () => {
    await send({ type: 'mailed' })

    await run(await claim())

    expect(sent).toEqual(['mail to anna'])
    expect(await inboxOf('anna')).toEqual([{ title: 'Title', seq: null }])
  })
})

suite('a send that takes long', () => {
  test('holds its own slot and not those that were claimed with it', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const slow: Channel = {
      ...mail,
      send: async ({ value }) => {
        if (value === 'slow') await released
        sent.push(value)
        return {}
      },
    }
    for (const userId of ['slow', 'first', 'second']) await send({ type: 'mailed', user_id: userId })

    const worker = startWorker(ports, { slots: 3, batchSize: 3 }, (held, signal, hands) =>
      deliver({ ...ports, ...only(slow) }, OPTIONS, held, signal, hands),
    )
    try {
      await expect.poll(() => sent.toSorted(), { timeout: 10_000 }).toEqual(['first', 'second'])
      for (const userId of ['third', 'fourth', 'fifth']) await send({ type: 'mailed', user_id: userId })
      await expect
        .poll(() => sent.toSorted(), { timeout: 10_000 })
        .toEqual(['fifth', 'first', 'fourth', 'second', 'third'])
    } finally {
      release()
      await worker.stop(10)
    }

    expect(sent.at(-1)).toBe('slow')
    expect((await outcomes()).map(({ state }) => state)).toEqual(Array.from({ length: 6 }, () => STATES.sent))
  })

  test('is given up, and its outcome unknown, when the channel ignores its signal', async () => {
    await send({ type: 'mailed' })
    const hanging: Channel = { ...mail, onUncertain: 'hold', send: () => new Promise(() => {}) }

    await run(await claim(), only(hanging), { ...OPTIONS, sendTimeoutSeconds: 0.05 })

    expect(await outcomes()).toMatchObject([{ state: STATES.uncertain, attempt: 1 }])
  })
})

suite('what was stored as claimed while its process stopped', () => {
  test('is not sent any more, and goes back', async () => {
    await send({ type: 'mailed' })
    const worker = startWorker(ports, { slots: 3, batchSize: 3 }, (held, signal, hands) =>
      deliver({ ...ports, ...only(mail) }, OPTIONS, held, signal, hands),
    )
    await worker.stop(10)
    const late = await claim()
    sent.length = 0

    worker.instant.run(late)

    await expect.poll(() => database.db.query('select from lease')).toEqual([])
    expect(await database.db.query('select from ready')).toHaveLength(1)
    expect(sent).toEqual([])
  })
})

suite('a directory that is away', () => {
  const away = databaseDirectory(connect('postgres://nobody@127.0.0.1:1/none'))

  test('costs a delivery no attempt, however long it takes', async () => {
    await send({ type: 'mailed' })

    await run(await claim(), { directory: away })
    for (let time = 0; time < 4; time++) {
      await makeDue()
      await run(await claim(), { directory: away })
    }
    const meanwhile = await outcomes()
    await makeDue()
    await run(await claim())

    expect(meanwhile).toMatchObject([{ state: STATES.ready, attempt: 0 }])
    expect(await outcomes()).toMatchObject([{ state: STATES.sent, attempt: 1 }])
    expect(sent).toEqual(['mail to anna'])
  })

  test('is asked again a little later, and not at once', async () => {
    await send({ type: 'mailed' })

    await run(await claim(), { directory: away })

    expect(await database.db.query(`select run_at > now() + interval '1 second' as is_later from ready`)).toEqual([
      { is_later: true },
    ])
  })

  test('does not turn a refused address into a message that may have arrived', async () => {
    await send({ type: 'mailed' })
    const refusing: Channel = {
      ...mail,
      send: () => Promise.reject(new DeliveryError('forget-address', 'no such mailbox')),
    }

    const directory: Directory = { ...ports.directory, forget: (...address) => away.forget(...address) }
    await run(await claim(), { ...only(refusing), directory })

    expect(await outcomes()).toMatchObject([{ state: STATES.failed, attempt: 1, reason: 'no such mailbox' }])
    expect(await database.db.query('select kind, reason from dead')).toEqual([
      { kind: 'failed', reason: 'no such mailbox' },
    ])
  })
})

/** What is noted as begun while each of them is prepared, and while it is sent. */
async function seen(held: Claim) {
  const noted: { prepared: string[][]; sent: string[][] } = { prepared: [], sent: [] }
  const note = async (when: keyof typeof noted): Promise<void> => {
    const rows = await database.db.query<{ id: string }>('select unnest(ids)::text as id from intent order by id')
    noted[when].push(rows.map(({ id }) => id))
    await sleep(20)
  }
  const directory: Directory = {
    ...ports.directory,
    find: (...asked) => note('prepared').then(() => ports.directory.find(...asked)),
  }
  const channel: Channel = { ...mail, send: (...given) => note('sent').then(() => mail.send(...given)) }
  await run(held, { directory, ...only(channel) })
  return noted
}
const mailThree = async (): Promise<Claim> => {
  for (const userId of ['first', 'second', 'third']) await send({ type: 'mailed', user_id: userId })
  return claim()
}

suite('deliveries whose worker died while it sent them', () => {
  test('are sent one after another, and noted before they are prepared', async () => {
    const fatal = await mailThree()
    const ids = fatal.deliveries.map(({ id }) => id)
    await ports.queue.start(fatal.leaseId, ids)
    await database.db.query(`update lease set until = now() - interval '1 s'`)
    await ports.queue.recover({ mail: { onUncertain: 'resend' } })
    await makeDue()

    const noted = await seen(await claim('retry'))

    const oneByOne = ids.map((_, index) => ids.slice(0, index + 1))
    expect(noted).toEqual({ prepared: oneByOne, sent: oneByOne })
    expect((await outcomes()).map(({ state }) => state)).toEqual(ids.map(() => STATES.sent))
  })

  test('are sent together where it was the other side that fell silent', async () => {
    const doubtful = await mailThree()
    await ports.queue.finish(
      doubtful.leaseId,
      doubtful.deliveries.map(({ id }) => ({
        id,
        state: 'retry',
        verdict: 'uncertain',
        reason: 'silence',
        afterSeconds: 0,
      })),
    )

    const { prepared } = await seen(await claim('retry'))

    expect(prepared).toEqual([[], [], []])
  })
})
