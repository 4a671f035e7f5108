import { afterAll, afterEach, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import type { Answer } from '../app.ts'
import type { ServerProcess } from '../server-process.ts'
import { DATABASE_SERVERS, startDatabaseServer, type DatabaseServer } from './database-server.ts'
import { openStage, type Stage } from './stage.ts'

const LOCK = 'select from inbox where user_id = $1 for update'
/** Statements are ended after ten seconds: what waits for a lock takes as long, what does not is far from it. */
const UNHINDERED_MS = 8000

/** Locks that last, transactions that meet, and a template that never ends. */
suite.each(DATABASE_SERVERS)('over %s, a server', (kind) => {
  let databaseServer: DatabaseServer
  let stage: Stage
  let server: ServerProcess

  beforeAll(async () => {
    databaseServer = await startDatabaseServer(kind)
  })
  beforeEach(async () => {
    stage = await openStage(databaseServer)
    const [{ name } = { name: '' }] = await stage.database.db.query<{ name: string }>(
      'select current_database() as name',
    )
    // Its own side of a deadlock is the one that notices, with time for the other side to come about.
    await stage.database.db.query(`alter database ${name} set deadlock_timeout = '3s'`)
    server = await stage.start('api,scheduler,worker')
    for (const user of ['anna', 'boris'])
      await server.call('PUT', `/api/v1/users/${user}`, { email: `${user}@example.com` })
  })
  afterEach(() => stage.close())
  afterAll(() => databaseServer.stop())

  const event = { type: 'job.done', title: 'Ready', body: 'Look', channels: ['ws', 'email'] }
  const send = (id: string, userId = 'anna') => server.call('POST', '/api/v1/events', { id, user_id: userId, ...event })

  test('whose deliveries are locked away answers 503 in time, goes on with the rest, and then catches up (F-14)', async () => {
    const { db } = stage.database
    await send('before')
    await stage.ends('before', 'SENT')
    const unlock = await stage.lock('delivery', 'access exclusive')

    const refused = Promise.all(Array.from({ length: 30 }, (_, n) => send(`during-${n}`)))
    await stage.someoneWaits()
    const others = await Promise.all([
      timed(server.call('GET', '/health')),
      timed(server.callAs('anna', 'GET', '/api/v1/notifications')),
      timed(server.call('PUT', '/api/v1/users/anna', { email: 'anna@example.com' })),
    ])
    const connections = await db.query('select from pg_stat_activity where datname = current_database()')
    const answers = await refused
    await unlock()

    expect(others.map(({ status }) => status)).toEqual([200, 200, 200])
    for (const { ms } of others) expect(ms).toBeLessThan(UNHINDERED_MS)
    expect(connections.length).toBeLessThan(20) // those who wait, wait in the process
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]))
    expect(answers.every(({ headers }) => Number(headers.get('retry-after')) > 0)).toBe(true)
    for (let n = 0; n < 30; n++) expect((await send(`during-${n}`)).status).toBe(202)
    for (let n = 0; n < 30; n++) await stage.ends(`during-${n}`, 'SENT')
    expect(stage.receiver.received()).toHaveLength(31)
  })

  test('whose transactions meet others in a deadlock repeats them, and loses no change (F-15)', async () => {
    await Promise.all([send('a', 'anna'), send('b', 'boris')])
    await Promise.all([stage.ends('a', 'SENT'), stage.ends('b', 'SENT')])
    const { db } = stage.database
    let accepted: Promise<Answer> | undefined

    // Inboxes are taken in the order of their users; this one does it the other way round.
    await db.transaction(async (tx) => {
      await tx.query(`set local deadlock_timeout = '1min'`)
      await tx.query(LOCK, ['boris'])
      accepted = server.call('POST', '/api/v1/events/batch', {
        events: [
          { id: 'both-1', user_id: 'anna', ...event },
          { id: 'both-2', user_id: 'boris', ...event },
        ],
      })
      await stage.someoneWaits()
      await tx.query(LOCK, ['anna'])
    })

    expect((await accepted)?.status).toBe(202)
    await Promise.all([stage.ends('both-1', 'SENT'), stage.ends('both-2', 'SENT')])
    expect(await db.query(`select user_id, head from inbox order by user_id`)).toEqual([
      { user_id: 'anna', head: '2' },
      { user_id: 'boris', head: '2' },
    ])
    const deadlocks = 'select from pg_stat_database where datname = current_database() and deadlocks > 0'
    await stage.untilRows(1, deadlocks) // statistics come a little later
  })

  test('whose statements fail to serialize, each up to four times, repeats them, and loses no change (F-15)', async () => {
    const { db } = stage.database
    // Sequences go on although their transactions are rolled back: four statements of five fail.
    await db.query(
      `create function fail() returns trigger language plpgsql as $$
       begin
         if nextval(tg_argv[0]) % 5 <> 0 then raise exception 'conflict' using errcode = tg_argv[1]; end if;
         return null;
       end $$`,
    )
    const conflicts = [
      ['event', 'insert', '40001'],
      ['ready', 'delete', '40P01'],
      ['delivery', 'update', '40001'],
    ]
    for (const [table, change, code] of conflicts) {
      await db.query(`create sequence ${table}_failures`)
      await db.query(
        `create trigger fail after ${change} on ${table} for each statement
         execute function fail('${table}_failures', '${code}')`,
      )
    }

    for (let n = 0; n < 10; n++) expect((await send(`single-${n}`)).status).toBe(202)
    const events = Array.from({ length: 10 }, (_, n) => ({ id: `batch-${n}`, user_id: 'boris', ...event }))
    expect((await server.call('POST', '/api/v1/events/batch', { events })).status).toBe(202)

    for (let n = 0; n < 10; n++) for (const how of ['single', 'batch']) await stage.ends(`${how}-${n}`, 'SENT')
    expect(stage.receiver.received()).toHaveLength(20)
    expect(await db.query(`select user_id, head from inbox order by user_id`)).toEqual([
      { user_id: 'anna', head: '10' },
      { user_id: 'boris', head: '10' },
    ])
    for (const [table] of conflicts) {
      const [row] = await db.query<{ last: number }>(`select last_value::integer as last from ${table}_failures`)
      expect(row!.last).toBeGreaterThanOrEqual(5)
    }
  })

  test('fails the one event whose template never ends, and neither its neighbours nor the API notice (F-49)', async () => {
    const type = { type: 'report.ready', recipients: { path: 'user_id' }, channels: ['email'] }
    expect((await server.call('POST', '/api/v1/event-types', type)).status).toBe(201)
    const loops = 4
    const body = `${'{% for a in data.rows %}'.repeat(loops)}{% assign x = a %}${'{% endfor %}'.repeat(loops)}x`
    const template = { template_code: 'report.ready', channel: 'email', locale: 'en', subject: 'Report', body }
    expect((await server.call('POST', '/api/v1/templates', template)).status).toBe(201)
    const reports = Array.from({ length: 20 }, (_, n) => ({
      ...event,
      id: `report-${n}`,
      user_id: 'anna',
      type: 'report.ready',
      channels: ['email'],
      data: { rows: Array.from({ length: n === 7 ? 1000 : 2 }, () => 1) },
    }))

    expect((await server.call('POST', '/api/v1/events/batch', { events: reports })).status).toBe(202)
    const latencies: number[] = []
    const ask = async () => latencies.push((await timed(server.call('GET', '/api/v1/events/report-0'))).ms)
    const asking = setInterval(() => void ask(), 50)

    const bomb = await stage.ends('report-7', 'FAILED').finally(() => clearInterval(asking))
    for (let n = 0; n < 20; n++) if (n !== 7) await stage.ends(`report-${n}`, 'SENT')
    expect(bomb.reason).toContain('template: the template takes too long')
    expect(Math.max(...latencies)).toBeLessThan(UNHINDERED_MS)
    expect(stage.receiver.received()).toHaveLength(19)
  })
})

async function timed(answer: Promise<Answer>): Promise<{ status: number; ms: number }> {
  const startedMs = performance.now()
  const { status } = await answer
  return { status, ms: performance.now() - startedMs }
}
