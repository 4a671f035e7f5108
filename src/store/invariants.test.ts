import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { addViolations, checkInvariants, type CheckOptions, type Finding } from './check-invariants.ts'
import { INVARIANTS } from './invariants.ts'

/** One event with deliveries of every kind, as the steps leave them. */
const HEALTHY = `
insert into event_type (id, type, version, definition) overriding system value values
  (1, 'job.done', 1, '{}'), (2, 'job.progress', 1, '{"collapse_path": "data.job_id"}');
insert into event (id, event_id, type, event_type_id, payload, jobs_count, lane, priority) values
  (100, 'one', 'job.done', 1, '{}', 15, 0, 1), (400, 'collapsed', 'job.progress', 2, '{}', 1, 0, 1);
insert into event (id, event_id, type, event_type_id, payload, jobs_count, lane, priority, cancelled_at) values
  (200, 'cancelled', 'job.done', 1, '{}', 1, 0, 1, now());
insert into event (id, event_id, type, event_type_id, payload, jobs_count, lane, priority) values
  (300, 'being planned', 'job.done', 1, '{}', null, 1, 1);
insert into idem (key, event_id, body_hash) values
  ('11111111-1111-1111-1111-111111111111', 100, ''), ('22222222-2222-2222-2222-222222222222', 200, '');
insert into idem (key, event_id, body_hash, answer) values ('33333333-3333-3333-3333-333333333333', 99, '', '{}');
insert into idem (key, event_id, body_hash) values ('44444444-4444-4444-4444-444444444444', 9, '');
insert into inbox (company_id, user_id, head) values ('', 'anna', 7), ('acme', 'anna', 1);
insert into notification (id, event_id, public_event_id, company_id, user_id, type, level, seq) values
  (10, 201, 'one', '', 'anna', 'job.done', 'info', 5),
  (11, 100, 'one', '', 'anna', 'job.done', 'info', 7),
  (12, 100, 'one', 'acme', 'anna', 'job.done', 'info', 1),
  (14, 100, 'one', '', 'boris', 'job.done', 'info', null);
insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, state, attempt, crashes, run_at,
  expires_at, finished_at, reason) values
  (101, 100, 13, 'email', 'anna', 0, 1, 0, 0, 0, now(), null, null, null),
  (102, 100, 13, 'email', 'anna', 0, 1, 0, 1, 0, now(), null, null, 'busy'),
  (103, 100, 10, 'email', 'anna', 0, 1, 0, 1, 1, now(), null, null, 'died'),
  (104, 100, 10, 'email', 'anna', 0, 1, 2, 2, 1, now(), null, now(), null),
  (105, 100, 10, 'email', 'anna', 0, 1, 4, 2, 0, now(), null, now(), 'refused'),
  (106, 100, 10, 'email', 'anna', 0, 1, 9, 1, 1, now(), null, now(), 'died'),
  (107, 100, 10, 'email', 'anna', 0, 1, 6, 0, 0, now(), now() - interval '1 s', now(), null),
  (108, 100, 10, 'email', 'anna', 0, 1, 10, 0, 0, now(), null, now(), 'no_address'),
  (109, 100, 10, 'ws', 'anna', 0, 1, 2, 1, 0, now(), null, now(), null),
  (110, 100, 99, 'email', 'anna', 0, 1, 2, 1, 0, now(), null, now(), null),
  (111, 100, 99, 'ws', 'anna', 0, 1, 0, 0, 0, now(), null, null, null),
  (112, 100, 10, 'email', 'anna', 0, 1, 2, 1, 1, now(), null, now(), 'settled as sent'),
  (113, 100, 10, 'email', 'anna', 0, 1, 4, 1, 1, now(), null, now(), 'settled as failed'),
  (114, 100, 14, 'email', 'boris', 0, 1, 2, 2, 0, now(), null, now(), null),
  (115, 100, 13, 'email', 'anna', 0, 1, 0, 0, 0, now(), null, null, null),
  (201, 200, 10, 'email', 'anna', 0, 1, 5, 0, 0, now(), null, now(), 'cancelled'),
  (401, 400, 98, 'ws', 'anna', 0, 1, 2, 1, 0, now(), null, now(), null);
update delivery set attempts_before = 1 where id = 114;
insert into attempt_log (delivery_id, n, verdict, message) values
  (102, 1, 'retry', 'busy'), (103, 1, 'uncertain', 'died'), (104, 1, 'uncertain', 'died'), (105, 1, 'retry', 'busy'),
  (105, 2, 'reject', 'refused'), (106, 1, 'uncertain', 'died'), (112, 1, 'uncertain', 'died'), (113, 1, 'uncertain', 'died'), (114, 1, 'reject', 'spam');
insert into dead (delivery_id, kind, reason) values (105, 'failed', 'refused'), (106, 'uncertain', 'died');
insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), 101), (1, 2, 1, now() + interval '1 h', 102), (1, 0, 1, now(), 111);
update delivery set thread = '77777777-7777-7777-7777-777777777777' where id in (102, 115);
insert into thread (key, head, last_place) values ('77777777-7777-7777-7777-777777777777', 102, 2);
insert into thread_waiting (key, place, delivery_id) values ('77777777-7777-7777-7777-777777777777', 2, 115);
insert into lease (id, worker, lane, until, ids) values (900, gen_random_uuid(), 2, now() + interval '1 h', '{103}');
insert into intent (id, lease_id, ids) values (901, 900, '{103,104}');`

const CLEAR = `truncate event, delivery, attempt_log, dead, ready, lease, intent, inbox, notification, idem, event_type, thread,
  thread_waiting, collapse, cancellation`

/** For each rule what breaks it, and what it says then. */
const PLANTED: [rule: string, plant: string, found: { id: string; detail: RegExp }][] = [
  [
    'jobs-count',
    'update event set jobs_count = 9 where id = 100',
    { id: '100', detail: /^15 deliveries instead of 9$/ },
  ],
  [
    'jobs-count',
    `update delivery set event_id = 200 where id = 108`,
    { id: '100', detail: /^14 deliveries instead of 15$/ },
  ],
  ['delivery-has-event', 'delete from event where id = 200', { id: '201', detail: /no event 200/ }],
  [
    'key-has-event',
    `insert into idem (key, event_id, body_hash) values ('ffffffff-ffff-ffff-ffff-ffffffffffff', 77, '')`,
    { id: 'ffffffff-ffff-ffff-ffff-ffffffffffff', detail: /no event 77/ },
  ],
  ['none-lost', 'delete from ready where id = 101', { id: '101', detail: /nobody will find it/ }],
  ['none-lost', 'delete from lease', { id: '103', detail: /nobody will find it/ }],
  [
    'held-once',
    `insert into ready (channel, lane, priority, run_at, id) values (1, 2, 1, now() + interval '5 s', 101)`,
    { id: '101', detail: /^2 times in the queue, in 0 leases$/ },
  ],
  [
    'held-once',
    `insert into ready (channel, lane, priority, run_at, id) values (1, 2, 1, now(), 103)`,
    { id: '103', detail: /^1 times in the queue, in 1 leases$/ },
  ],
  [
    'held-once',
    `insert into lease (id, worker, lane, until, ids) values (902, gen_random_uuid(), 2, now(), '{103}')`,
    { id: '103', detail: /^0 times in the queue, in 2 leases$/ },
  ],
  [
    'held-once',
    `insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), 115)`,
    { id: '115', detail: /^1 times in the queue, in 0 leases, waits for its turn$/ },
  ],
  ['turn-is-live', `update thread set head = 104`, { id: '104', detail: /it is over, and 1 wait behind it/ }],
  ['turn-is-live', `delete from thread`, { id: '115', detail: /place 2 of a thread that has none/ }],
  ['none-lost', 'delete from thread_waiting', { id: '115', detail: /nobody will find it/ }],
  [
    'settled-is-free',
    `insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), 104)`,
    { id: '104', detail: /in the queue, and settled as 2/ },
  ],
  ['settled-is-free', `update lease set ids = '{103,105}'`, { id: '105', detail: /in the lease, and settled as 4/ }],
  [
    'settled-is-free',
    `insert into ready (channel, lane, priority, run_at, id) values (1, 0, 1, now(), 555)`,
    { id: '555', detail: /in the queue, and unknown/ },
  ],
  [
    'intent-has-lease',
    `insert into intent (id, lease_id, ids) values (903, 77, '{101}')`,
    { id: '903', detail: /lease 77 is gone; deliveries 101/ },
  ],
  ['state-is-known', 'update delivery set state = 3 where id = 108', { id: '108', detail: /state 3/ }],
  ['state-is-known', 'update delivery set finished_at = null where id = 104', { id: '104', detail: /no time/ }],
  [
    'state-is-known',
    'update delivery set finished_at = now() where id = 101',
    { id: '101', detail: /state 0, finished/ },
  ],
  ['attempts-add-up', 'delete from attempt_log where delivery_id = 102', { id: '102', detail: /attempt 1.*0 lines/ }],
  ['attempts-add-up', 'update delivery set attempt = 3 where id = 104', { id: '104', detail: /attempt 3.*1 lines/ }],
  [
    'attempts-add-up',
    'update delivery set crashes = 0 where id = 103',
    { id: '103', detail: /crashes 0.*1 uncertain/ },
  ],
  [
    'attempts-add-up',
    `update attempt_log set n = 3 where delivery_id = 105 and n = 2`,
    { id: '105', detail: /attempt 2.*2 lines up to 3/ },
  ],
  [
    'changes-are-legal',
    `update attempt_log set verdict = 'reject' where delivery_id = 105 and n = 1`,
    { id: '105', detail: /no way leads to state 4 by "reject reject"/ },
  ],
  [
    'changes-are-legal',
    `update attempt_log set verdict = 'forget-address' where delivery_id = 102`,
    { id: '102', detail: /no way leads to state 0 by "forget-address"/ },
  ],
  [
    'changes-are-legal',
    `update attempt_log set verdict = 'retry' where delivery_id = 106; update delivery set crashes = 0 where id = 106`,
    { id: '106', detail: /no way leads to state 9 by "retry"/ },
  ],
  [
    'changes-are-legal',
    `update delivery set expires_at = finished_at + interval '1 s' where id = 107`,
    { id: '107', detail: /expired before its time/ },
  ],
  ['changes-are-legal', 'update event set cancelled_at = null', { id: '201', detail: /cancelled by nobody/ }],
  ['changes-are-legal', 'update delivery set reason = null where id = 108', { id: '108', detail: /without a reason/ }],
  [
    'changes-are-legal',
    `delete from attempt_log where delivery_id = 105; update delivery set attempt = 0 where id = 105`,
    { id: '105', detail: /no way leads to state 4 by ""/ },
  ],
  [
    'changes-are-legal',
    `update attempt_log set verdict = 'retry' where delivery_id = 112; update delivery set crashes = 0 where id = 112`,
    { id: '112', detail: /settled without a doubt/ },
  ],
  [
    'changes-are-legal',
    `insert into attempt_log (delivery_id, n, verdict, message) values (103, 2, 'uncertain', 'died'), (103, 3, 'uncertain', 'died');
     update delivery set attempt = 3, crashes = 3 where id = 103`,
    { id: '103', detail: /no way leads to state 0 by "uncertain uncertain uncertain"/ },
  ],
  ['doubt-is-kept', 'delete from dead where delivery_id = 106', { id: '106', detail: /no dead letter/ }],
  [
    'dead-letter-is-true',
    `insert into dead (delivery_id, kind, reason) values (104, 'failed', '')`,
    { id: '104', detail: /kept as failed, its state is 2/ },
  ],
  [
    'dead-letter-is-true',
    `insert into dead (delivery_id, kind, reason) values (555, 'uncertain', '')`,
    { id: '555', detail: /its state is unknown/ },
  ],
  ['sent-is-in-history', 'delete from notification where id = 14', { id: '114', detail: /no notification 14/ }],
  ['newest-is-shown', 'update notification set event_id = 50 where id = 10', { id: '104', detail: /older event 50/ }],
  ['shown-has-seq', 'update notification set seq = null where id = 10', { id: '109', detail: /no number/ }],
  [
    'seq-is-counted',
    `delete from inbox where company_id = 'acme'`,
    { id: '12', detail: /seq 1, the inbox is at none/ },
  ],
  ['head-is-used', `update inbox set head = 8 where company_id = ''`, { id: 'anna', detail: /head 8, last seq 7/ }],
  ['head-is-used', `insert into inbox values ('acme', 'eve', 1)`, { id: 'acme/eve', detail: /head 1, last seq 0/ }],
  [
    'seq-is-unique',
    'update notification set seq = 7 where id = 10',
    { id: 'anna', detail: /seq 7: notifications 10, 11/ },
  ],
]

const KNOWLEDGE = { inboxChannels: ['ws'], eventsAfterId: '50', notificationDays: 1 }

suite('the invariants', () => {
  let database: FreshDatabase

  beforeAll(async () => {
    database = await freshDatabase()
  })
  beforeEach(async () => {
    for (const sql of [CLEAR, ...HEALTHY.split(';')]) await database.db.query(sql)
  })
  afterAll(() => database.close())

  const check = (options: Partial<CheckOptions> = {}) =>
    checkInvariants(database.db, { limit: 20, afterId: '0', pageSize: 1000, knowledge: KNOWLEDGE, ...options })

  test('hold for everything that the steps leave behind, and are counted', async () => {
    const { findings, totals } = await check()

    expect(broken(findings)).toEqual([])
    expect(findings.map(({ name }) => name)).toEqual(INVARIANTS.map(({ name }) => name))
    expect(totals).toEqual({
      events: 4,
      promised: 17,
      deliveries: { ready: 5, sent: 6, failed: 2, cancelled: 1, expired: 1, uncertain: 1, skipped: 1 },
    })
  })

  test.each(PLANTED)('notice what breaks "%s": %s', async (rule, plant, { id, detail }) => {
    for (const sql of plant.split(';')) await database.db.query(sql)

    const { findings } = await check()

    const found = findings.find(({ name }) => name === rule)!
    expect(found.violations).toContainEqual({ id, detail: expect.stringMatching(detail) })
  })

  test('each have a violation that is planted here', () => {
    const planted = new Set(PLANTED.map(([rule]) => rule))

    expect(INVARIANTS.map(({ name }) => name).filter((name) => !planted.has(name))).toEqual([])
  })

  test('are found page by page as well', async () => {
    await database.db.query('update delivery set finished_at = null where id in (104, 106, 201)')
    await database.db.query('update inbox set head = 100')

    const { findings, totals } = await check({ pageSize: 1 })

    expect(findings.find(({ name }) => name === 'state-is-known')!.violations.map(({ id }) => id)).toEqual([
      '104',
      '106',
      '201',
    ])
    expect(findings.find(({ name }) => name === 'head-is-used')!.violations.map(({ id }) => id)).toEqual([
      'anna',
      'acme/anna',
    ])
    expect(totals.deliveries.ready).toBe(5)
  })

  test('tell some of many violations, and that there are more', async () => {
    await database.db.query('update delivery set finished_at = null')

    const { findings } = await check({ limit: 2, pageSize: 4 })

    const found = findings.find(({ name }) => name === 'state-is-known')!
    expect(found.violations).toHaveLength(2)
    expect(found.hasMore).toBe(true)
  })

  test('are checked of a part of the time where that is asked', async () => {
    await database.db.query('update delivery set finished_at = null where id in (104, 201)')

    const { findings } = await check({ afterId: '150' })

    expect(findings.find(({ name }) => name === 'state-is-known')!.violations.map(({ id }) => id)).toEqual(['201'])
  })

  test('allow for what grew too old to be kept', async () => {
    await database.db.query(`update event_type set created_at = now() - interval '2 days'`)
    await database.db.query(`update delivery set finished_at = now() - interval '2 days' where id = 114`)
    await database.db.query('delete from notification where id in (11, 14)')

    const { findings } = await check()

    expect(broken(findings)).toEqual([])
    const forEver = await check({ knowledge: { ...KNOWLEDGE, notificationDays: 0, eventsAfterId: '0' } })
    expect(broken(forEver.findings).map(({ name }) => name)).toEqual([
      'key-has-event',
      'sent-is-in-history',
      'head-is-used',
    ])
  })

  test('change nothing', async () => {
    await expect(
      checkInvariants(database.db, {
        limit: 1,
        afterId: '0',
        pageSize: 1000,
        knowledge: KNOWLEDGE,
        onDeliveries: async (_page, tx) => void (await tx.query('delete from ready')),
      }),
    ).rejects.toThrow(/read-only/)
  })
})

test('violations beyond the limit are only counted as more', () => {
  const finding: Finding = { name: '', says: '', violations: [], hasMore: false }

  addViolations(finding, [{ id: '1', detail: '' }], 2)
  expect(finding.hasMore).toBe(false)
  addViolations(
    finding,
    [
      { id: '2', detail: '' },
      { id: '3', detail: '' },
    ],
    2,
  )

  expect(finding.violations.map(({ id }) => id)).toEqual(['1', '2'])
  expect(finding.hasMore).toBe(true)
})

const broken = (findings: Finding[]) => findings.filter(({ violations }) => violations.length > 0)
