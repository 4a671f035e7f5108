import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { pino } from 'pino'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { as, serverWith } from '../../test/http.ts'
import { sms } from '../../test/sms-channel.ts'
import { idGenerator, uuidOf } from '../core/id.ts'
import { databaseDirectory } from '../directory/database.ts'
import { postgresQueue } from '../queue/postgres.ts'
import { liquidRenderer } from '../render/liquid-renderer.ts'
import { putUsers } from '../store/directory-user.ts'
import { putEventType } from '../store/event-type.ts'
import { eventTypes } from '../store/event-types.ts'
import { putTemplate } from '../store/template.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { replayRoutes } from './replays.ts'

const nextId = idGenerator(() => 1)
const lines: string[] = []
const renderer = liquidRenderer()
const definition = {
  type: 'test.happened',
  recipients: { path: 'user_id' },
  channels: ['sms'],
  schema: { type: 'object', properties: { count: { type: 'integer' } } },
}

let database: FreshDatabase
let app: FastifyInstance
beforeAll(async () => {
  database = await freshDatabase()
  const { db } = database
  await putEventType(db, '', definition)
  await putTemplate(db, '', { ...TEMPLATE, body: 'v1: {{ data.count }} for {{ data.mail }}' })
  const ports = {
    db,
    nextId,
    renderer,
    log: pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }),
    directory: databaseDirectory(db),
    eventTypes: eventTypes({ db }),
    queue: postgresQueue({ db, nextId, workerId: randomUUID(), leaseSeconds: 30 }),
    channels: new Map([['sms', sms.open({ SMS_GATEWAY_URL: 'https://sms.example/' }, {} as never)]]),
  }
  const options = { defaultLocale: 'en', publicUrl: () => 'https://events.example' }
  app = serverWith([deadLetterRoutes(ports, options), replayRoutes(ports)])
})
afterAll(async () => {
  await app.close()
  await renderer.close()
  await database.close()
})
beforeEach(() =>
  database.db.query('truncate event, delivery, ready, dead, attempt_log, replay, directory_user, address'),
)

const TEMPLATE = { template_code: 'test.happened', channel: 'sms', locale: 'en', subject: null }
const call = async (method: 'GET' | 'POST' | 'DELETE', path: string, payload?: object, headers = {}, key = 'sk_') => {
  const url = `/api/v1/${path}`
  const answer = await app.inject({ method, url, ...as(key, headers), ...(payload && { payload }) })
  return { status: answer.statusCode, headers: answer.headers, body: answer.body === '' ? null : answer.json() }
}
const buryOne = async (burial: Parameters<typeof bury>[2] = {}) => {
  const [id = ''] = await bury(database.db, 1, { channel: 'sms', ...burial })
  return { id, job: uuidOf(id) }
}
const deliveryOf = async (id: string) => {
  const [row] = await database.db.query<Record<string, unknown>>('select * from delivery where id = $1', [id])
  return row
}

suite('the list of dead letters', () => {
  test('is read page by page, and is of one company', async () => {
    const first = await buryOne()
    const second = await buryOne({ reason: 'the mailbox of anna@example.com is full' })
    await buryOne({ companyId: 'other' })

    const page = await call('GET', 'dead-letters?limit=1')
    const rest = await call('GET', `dead-letters?limit=1&after=${page.body.next}`)

    expect(page.body.items).toMatchObject([
      { job_id: second.job, kind: 'failed', channel: 'sms', reason: 'the mailbox of a***@example.com is full' },
    ])
    expect(rest.body).toMatchObject({ items: [{ job_id: first.job }], next: null })
    const theirs = await call('GET', 'dead-letters', undefined, {}, 'sk_other')
    expect(theirs.body.items).toHaveLength(1)
  })

  test('is grouped by reason', async () => {
    await buryOne({ reason: 'timeout after 1000 ms' })
    await buryOne({ reason: 'timeout after 2000 ms' })
    await buryOne({ reason: 'refused' })

    const { body } = await call('GET', 'dead-letters/groups?kind=failed')
    const [{ reason }] = body.items
    const found = await call('GET', `dead-letters?reason=${encodeURIComponent(reason as string)}`)

    expect(body.items).toMatchObject([{ count: 2 }, { reason: 'refused', count: 1 }])
    expect(found.body.items).toHaveLength(2)
  })
})

suite('one dead letter', () => {
  test('shows what went into it, and what would differ now', async () => {
    const { db } = database
    const [before] = await db.query<{ id: string }>('select id from template where is_current')
    const { job } = await buryOne({
      templateId: before?.id ?? '',
      data: { count: 7, mail: 'anna@example.com' },
      vars: { count: 8 },
      attempts: 2,
    })
    const user = { user_id: 'anna', locale: 'en', addresses: { sms: ['+4915112345678'] } }
    await putUsers(db, '', [user])
    await putTemplate(db, '', { ...TEMPLATE, body: 'v2: {{ data.count }}' })
    await putEventType(db, '', definition)

    const { status, body } = await call('GET', `dead-letters/${job}`)

    expect(status).toBe(200)
    expect(body).toMatchObject({
      job_id: job,
      attempts_count: 2,
      attempts: [{ n: 1 }, { n: 2 }],
      inputs: {
        event: { type: 'test.happened', data: { count: 7, mail: 'a***@example.com' } },
        vars: { count: 8 },
        event_type_version: 1,
      },
      event_type_version_now: 2,
      before: { template: { version: 1, locale: 'en' }, body: 'v1: 8 for a***@example.com', error: null },
      now: { template: { version: 2 }, body: 'v2: 8' },
      user: { is_known: true, locale: 'en' },
      address: { value: '+4***78', state: 'active', is_new: true },
      differs: ['event_type', 'address', 'template', 'body'],
    })
    expect(JSON.stringify(body)).not.toContain('anna@example.com')
    expect(JSON.stringify(body)).not.toContain('12345678')
  })

  test('says why its text cannot be made, and where it would go nowhere', async () => {
    const [template] = await database.db.query<{ id: string }>('select id from template where version = 1')
    const { job } = await buryOne({ templateId: template?.id ?? '', data: { count: 1 } })

    const { body } = await call('GET', `dead-letters/${job}`)

    expect(body.before.error).toContain('mail')
    expect(body.before.body).toBeNull()
    expect(body.address).toBeNull()
    expect(body.differs).toContain('address')
  })

  test('of a channel that is gone can still be read', async () => {
    const { job } = await buryOne({ channel: 'pigeon' })

    const { status, body } = await call('GET', `dead-letters/${job}`)

    expect(status).toBe(200)
    expect(body).toMatchObject({ before: null, now: null, address: null })
    expect(body.differs).toContain('channel')
  })

  test('is sent again, once', async () => {
    const { id, job } = await buryOne({ templateId: '1' })

    const answers = await Promise.all([1, 2, 3].map(() => call('POST', `dead-letters/${job}/retry`, {})))

    expect(answers.map(({ status }) => status).filter((status) => status === 202)).toHaveLength(1)
    expect(answers.every(({ status }) => [202, 404, 409].includes(status))).toBe(true)
    expect(await deliveryOf(id)).toMatchObject({ state: 0, pinned_template_id: '1' })
    expect(lines.join('')).toContain('dead letter sent again')
  })

  test('is sent again with changed data, as far as its type allows', async () => {
    const { id, job } = await buryOne({ data: { count: 1, mail: 'x' } })

    const wrong = await call('POST', `dead-letters/${job}/retry`, { data: { count: 'many' } })
    const right = await call('POST', `dead-letters/${job}/retry`, { data: { count: 2 }, template: 'current' })

    expect([wrong.status, wrong.body.errors]).toEqual([400, [expect.objectContaining({ field: 'data.count' })]])
    expect(right).toMatchObject({ status: 202, body: { job_id: job, status: 'RETRYING' } })
    expect(await deliveryOf(id)).toMatchObject({ vars: { count: 2 } })
  })

  test.each([
    ['that expired', { expiresInSeconds: -5 }, 'expired'],
    ['whose event was cancelled', { isCancelled: true }, 'cancelled'],
    ['that may have arrived', { kind: 'uncertain' }, 'settle'],
  ] as const)('%s is not sent again, and says why', async (_, burial, why) => {
    const { job } = await buryOne(burial)

    const { status, body } = await call('POST', `dead-letters/${job}/retry`, {})

    expect([status, body.detail]).toEqual([409, expect.stringContaining(why)])
  })

  test.each([
    ['sent', 'SENT', 2],
    ['failed', 'FAILED', 4],
    ['resend', 'RETRYING', 0],
  ])('that is uncertain is settled as %s', async (outcome, status, state) => {
    const { id, job } = await buryOne({ kind: 'uncertain' })

    const answer = await call('POST', `dead-letters/${job}/settle`, { as: outcome })
    const again = await call('POST', `dead-letters/${job}/settle`, { as: outcome })

    expect(answer).toMatchObject({ status: 200, body: { job_id: job, status } })
    expect(again.status).toBe(404)
    expect(await deliveryOf(id)).toMatchObject({ state })
  })

  test('that failed is discarded, not settled', async () => {
    const { job } = await buryOne()
    const uncertain = await buryOne({ kind: 'uncertain' })

    expect((await call('POST', `dead-letters/${job}/settle`, { as: 'sent' })).status).toBe(409)
    expect((await call('DELETE', `dead-letters/${uncertain.job}`)).status).toBe(409)
    expect((await call('DELETE', `dead-letters/${job}`)).status).toBe(204)
    expect((await call('GET', `dead-letters/${job}`)).status).toBe(404)
  })
})

const replay = (body: object, key?: string) =>
  call('POST', 'dead-letters/replay', body, key === undefined ? {} : { 'idempotency-key': key })

suite('sending many again', () => {
  test('is tried without doing it, and says how many and of what', async () => {
    await buryOne({ reason: 'timeout after 1000 ms' })
    await buryOne({ reason: 'timeout after 2000 ms', expiresInSeconds: -5 })
    await buryOne({ kind: 'uncertain' })

    const { status, body } = await replay({ filter: {}, dry_run: true })

    expect(status).toBe(200)
    expect(body).toMatchObject({ dry_run: true, count: 1, expired: 1, cancelled: 0, groups: [{ count: 2 }] })
    expect(await database.db.query('select from replay')).toEqual([])
  })

  test('is started once by the same key, and can be watched and stopped', async () => {
    await buryOne()
    const body = { filter: { channel: 'sms' }, dry_run: false, expected_count: 1, rate_per_second: 7 }

    const [first, second] = await Promise.all([replay(body, 'k1'), replay(body, 'k1')])
    const { id } = first.body
    const other = await replay({ ...body, template: 'current' }, 'k1')

    expect([first.status, second.status]).toEqual([202, 202])
    expect(second.body).toEqual(first.body)
    expect([first, second].filter(({ headers }) => headers['idempotency-replayed'])).toHaveLength(1)
    expect(other.status).toBe(422)
    expect((await call('GET', `replays/${id}`)).body).toMatchObject({
      id,
      status: 'running',
      filter: { kind: 'failed', channel: 'sms' },
      total: 1,
      requeued: 0,
      rate_per_second: 7,
      started_by: 'sk_',
    })
    expect((await call('GET', `replays/${id}`, undefined, {}, 'sk_other')).status).toBe(404)
    expect((await call('POST', `replays/${id}/stop`)).body).toMatchObject({ status: 'stopped' })
  })

  test('needs a key, and as many letters as were counted', async () => {
    await buryOne()

    const keyless = await replay({ filter: {}, dry_run: false })
    const miscounted = await replay({ filter: {}, dry_run: false, expected_count: 5 }, 'k2')

    expect([keyless.status, keyless.body.errors[0].field]).toEqual([400, 'Idempotency-Key'])
    expect([miscounted.status, miscounted.body.detail]).toEqual([409, expect.stringContaining('1 such')])
  })
})
