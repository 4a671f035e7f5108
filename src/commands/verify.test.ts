import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { JWT_SECRET } from '../../test/app.ts'
import { run, temporaryDirectory } from '../../test/command-line.ts'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { uuidOf } from '../core/id.ts'
import { idempotencyKey } from '../store/idempotency.ts'
import type { Report } from './verify.ts'

const SENT = 101
const RESENT = 102
const HELD = 103
const WAITING = 104
const ON_ITS_WAY = 105

/** An event `one` of the platform, and deliveries as their names say. */
const TABLES = `
truncate event, delivery, attempt_log, dead, ready, lease, intent, inbox, notification, idem, event_type;
insert into event_type (id, type, version, definition) overriding system value values (1, 'job.done', 1, '{}');
insert into notification (id, event_id, public_event_id, user_id, type, level) values (10, 100, 'one', 'anna', 'job.done', 'info');
insert into event (id, event_id, type, event_type_id, payload, jobs_count, lane, priority) values
  (100, 'one', 'job.done', 1, '{}', 5, 0, 1);
insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, state, attempt, crashes, run_at,
  finished_at) values
  (${SENT}, 100, 10, 'email', 'anna', 0, 1, 2, 1, 0, now(), now()),
  (${RESENT}, 100, 10, 'email', 'anna', 0, 1, 2, 2, 1, now(), now()),
  (${HELD}, 100, 10, 'email', 'anna', 0, 1, 9, 1, 1, now(), now()),
  (${WAITING}, 100, 10, 'email', 'anna', 0, 1, 0, 0, 0, now(), null),
  (${ON_ITS_WAY}, 100, 10, 'email', 'anna', 0, 1, 0, 0, 0, now(), null);
insert into attempt_log (delivery_id, n, verdict, message) values
  (${RESENT}, 1, 'uncertain', 'died'), (${HELD}, 1, 'uncertain', 'died');
insert into dead (delivery_id, kind, reason) values (${HELD}, 'uncertain', 'died');
insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), ${WAITING});
insert into lease (id, worker, lane, until, ids) values (900, gen_random_uuid(), 0, now() + interval '1 h', '{${ON_ITS_WAY}}');
insert into intent (id, lease_id, ids) values (901, 900, '{${ON_ITS_WAY}}');
insert into idem (key, event_id, body_hash) values ('${idempotencyKey('event', '', 'one')}', 100, '')`

suite('eventcenter verify', () => {
  let database: FreshDatabase

  beforeAll(async () => {
    database = await freshDatabase()
  })
  beforeEach(async () => {
    for (const sql of TABLES.split(';')) await database.db.query(sql)
  })
  afterAll(() => database.close())

  const verify = (...args: string[]) =>
    run(['verify', ...args], { DATABASE_URL: database.url, JWT_SECRET, RETENTION_DAYS_EVENTS: '0' })

  async function brokenRules(...args: string[]): Promise<Record<string, { id: string; detail: string }[]>> {
    const { stdout, stderr, exitCode } = await verify('--json', ...args)
    if (stdout === '') throw new Error(stderr)
    const { ok, rules } = JSON.parse(stdout) as Report
    expect(exitCode).toBe(ok ? 0 : 1)
    return Object.fromEntries(
      rules.filter(({ violations }) => violations.length > 0).map(({ name, violations }) => [name, violations]),
    )
  }

  test('says of a sound database that every rule holds, and what is in it', async () => {
    const { stdout, exitCode } = await verify()

    expect(stdout).toContain('1 events promised 5 deliveries\n2 final (2 sent), 2 live, 1 uncertain\n')
    expect(stdout).toMatch(/^ok {6}none-lost: /m)
    expect(stdout).toContain('Every rule holds.')
    expect(exitCode).toBe(0)
  })

  test('names the rule that is broken and what breaks it, and fails', async () => {
    await database.db.query('delete from ready')

    const { stdout, exitCode } = await verify()

    expect(stdout).toMatch(/^BROKEN {2}none-lost: .*\n +104: it waits, and nobody will find it$/m)
    expect(exitCode).toBe(1)
  })

  test('finds in the logs of receivers nothing wrong with copies that were known to be uncertain', async () => {
    const receiverLog = await log('a.jsonl', ...[SENT, RESENT, RESENT, HELD, ON_ITS_WAY].map(mailOf))

    expect(await brokenRules('--receiver-log', receiverLog, '--complete', 'email')).toEqual({})
  })

  test('notices a second copy that nobody knew of', async () => {
    const receiverLog = await log('a.jsonl', ...[SENT, SENT, HELD, HELD].map(mailOf), { job_id: uuidOf(String(SENT)) })

    expect(await brokenRules('--receiver-log', receiverLog)).toEqual({
      'received-once': [
        { id: String(SENT), detail: 'state 2: received 3 times, 1 accounted for' },
        { id: String(HELD), detail: 'state 9: received 2 times, 1 accounted for' },
      ],
    })
  })

  test('notices what receivers got and our books do not have', async () => {
    const receiverLog = await log('a.jsonl', mailOf(WAITING), mailOf(555), { message_id: '<spam@example.org>' })

    expect(await brokenRules('--receiver-log', receiverLog)).toEqual({
      'received-is-known': [
        { id: '<spam@example.org>', detail: 'names no delivery' },
        { id: String(WAITING), detail: 'state 0: received 1 times, 0 accounted for' },
        { id: '555', detail: 'no such delivery' },
      ],
    })
  })

  test('notices what is recorded as sent and was received by nobody, where the logs are complete', async () => {
    const receiverLog = await log('a.jsonl', mailOf(RESENT))

    expect(await brokenRules('--receiver-log', receiverLog)).toEqual({})
    expect(await brokenRules('--receiver-log', receiverLog, '--complete', 'ws')).toEqual({})
    expect(await brokenRules('--receiver-log', receiverLog, '--complete', 'email', 'ws')).toEqual({
      'sent-was-received': [{ id: String(SENT), detail: 'in no log' }],
    })
  })

  test('reads folders of logs', async () => {
    const folder = path.dirname(await log('a.jsonl', mailOf(SENT)))
    await writeFile(path.join(folder, 'b.jsonl'), `${JSON.stringify(mailOf(SENT))}\n`)
    await mkdir(path.join(folder, 'c'))

    expect(Object.keys(await brokenRules('--receiver-log', folder))).toEqual(['received-once'])
  })

  test('notices an event that was answered with 202 and is not there as the answer said', async () => {
    const acceptedLog = await log(
      'accepted.jsonl',
      { event_id: 'one', jobs_count: 5 },
      { event_id: 'two', jobs_count: 1 },
      { event_id: 'one', company_id: 'acme', jobs_count: 5 },
      { event_id: uuidOf('100'), jobs_count: 5 },
    )

    expect(await brokenRules('--accepted-log', acceptedLog)).toEqual({
      'answered-is-stored': [
        { id: uuidOf('100'), detail: 'it was answered with 202 and is not there' },
        { id: 'one', detail: 'it was answered with 202 and is not there' },
        { id: 'two', detail: 'it was answered with 202 and is not there' },
      ],
    })
    expect(await brokenRules('--accepted-log', await log('a.jsonl', { event_id: 'one', jobs_count: 4 }))).toEqual({
      'answered-is-stored': [{ id: 'one', detail: 'answered with 4 jobs, planned 5' }],
    })
  })

  test('looks at a part of the time where that is asked', async () => {
    await database.db.query('delete from ready')

    expect(await brokenRules('--since', '1h')).toEqual({}) // the rows of these tests are as old as ids can be
  })

  test.each([
    ['a log that is none', () => log('a.jsonl', 'Received: from …\n'), /a\.jsonl:1: expected a JSON object/],
    ['a log that is not there', async () => '/nowhere/a.jsonl', /\/nowhere\/a\.jsonl cannot be read/],
  ])('refuses %s', async (_, file, message) => {
    const { stderr, exitCode } = await verify('--receiver-log', await file())

    expect(stderr).toMatch(message)
    expect(exitCode).toBe(1)
  })

  test('does not take a log for complete that is not given', async () => {
    const { stderr, exitCode } = await verify('--complete', 'email')

    expect(stderr).toMatch(/it needs --receiver-log/)
    expect(exitCode).toBe(1)
  })

  test('proves nothing about a channel that there is not', async () => {
    const receiverLog = await log('a.jsonl', mailOf(SENT))

    const { stderr, exitCode } = await verify('--receiver-log', receiverLog, '--complete', 'email,ws')

    expect(stderr).toMatch(/^--complete: unknown channel "email,ws"; known: ws, email$/m)
    expect(exitCode).toBe(1)
  })
})

async function log(name: string, ...lines: unknown[]): Promise<string> {
  const file = path.join(await temporaryDirectory(), name)
  await writeFile(file, lines.map((line) => (typeof line === 'string' ? line : `${JSON.stringify(line)}\n`)).join(''))
  return file
}
const mailOf = (id: number) => ({ message_id: `<dlv-${uuidOf(String(id))}@example.com>`, at: '2026-01-01T00:00:00Z' })
