import { randomUUID } from 'node:crypto'
import { uuidOf } from '../../src/core/id.ts'
import { putEventType } from '../../src/store/event-type.ts'
import type { TestApp } from '../app.ts'
import { bury } from '../dead-letters.ts'
import { putNotification } from '../inbox.ts'
import { fromSomewhere, type Operation } from './operations.ts'

/** In everything that the examples of a company put into the database. No other company and no other user may see it. */
export const CANARY = 'canary-7d1f'

/** The company and the user that own the examples. */
export const OWNER = { companyId: 'acme', userId: 'anna' }

const later = (): string => new Date(Date.now() + 3600_000).toISOString()
const event = { user_id: OWNER.userId, type: 'test.happened', title: CANARY, body: CANARY, data: { note: CANARY } }
const cta = { label: 'Open', url: 'https://example.com/' }

/** Names that nobody has used yet. */
let last = 0
const newName = (): string => `canary.n${++last}`

const eventType = (type: string) => ({
  type,
  description: CANARY,
  schema: { type: 'object', properties: { note: { type: 'string' } } },
  recipients: { path: 'user_id', include_initiator: true },
  channels: ['ws'],
})
const words = { subject: CANARY, body: `${CANARY} {{ data.note }}` }
const template = () => ({ template_code: newName(), channel: 'email', locale: 'en', ...words })

/** A good body for every route that takes one; `id` is what the path names. */
const BODIES: Record<string, (id: string) => unknown> = {
  'POST /api/v1/event-types': () => eventType(newName()),
  'PUT /api/v1/event-types/{type}': (id) => eventType(id),
  'POST /api/v1/templates': template,
  'PUT /api/v1/templates/{id}': () => words,
  'POST /api/v1/templates/preview': () => ({
    channel: 'email',
    locale: 'en',
    ...words,
    variables: { data: { note: 'x' } },
  }),
  'POST /api/v1/events': () => ({ ...event, cta }),
  'POST /api/v1/events/batch': () => ({ events: [event] }),
  'POST /api/v1/events/cancel': () => ({ cancellation_key: 'none' }),
  'PUT /api/v1/users/{user_id}': () => ({ email: `${CANARY}@example.com`, locale: 'en', profile: { name: CANARY } }),
  'POST /api/v1/users/batch': () => ({ users: [{ user_id: 'somebody', locale: 'en' }] }),
  'POST /api/v1/keys': () => ({ name: CANARY, scopes: ['events:read'] }),
  'POST /api/v1/dead-letters/{job_id}/retry': () => ({ data: { note: CANARY }, template: 'current' }),
  'POST /api/v1/dead-letters/{job_id}/settle': () => ({ as: 'resend' }),
  'POST /api/v1/dead-letters/replay': () => ({
    filter: { kind: 'failed', channel: 'email', type: 'test.happened', reason: 'none', since: later(), until: later() },
    dry_run: true,
    template: 'same',
    expected_count: 0,
    rate_per_second: 10,
  }),
  'POST /api/v1/notifications/{id}/snooze': () => ({ until: later() }),
  'POST /api/v1/notifications/read-all': () => ({ type: 'test.happened' }),
  'POST /api/v1/notifications/seen-all': () => ({ type: 'test.happened' }),
}

export function exampleBody({ name, body }: Operation, id: string): unknown {
  const example = BODIES[name]?.(id)
  if (body && example === undefined) throw new Error(`${name} needs an example in test/security/examples.ts`)
  return example
}

/** These make a thing where there is none, so another company gets its own. */
export const MAKES_ITS_OWN = ['PUT /api/v1/users/{user_id}']

type Seed = (server: TestApp, key: string) => Promise<string>

/** Makes a thing of the owner that a route can name in its path, by how the path begins. */
const SEEDS: Record<string, Seed> = {
  '/api/v1/notifications/': ({ database }) => putNotification(database.db, OWNER, { title: CANARY }),
  '/api/v1/events/': async (server, key) => (await post(server, key, 'events', event)).event_id as string,
  '/api/v1/users/': async (server, key) => {
    const id = `user-${randomUUID()}`
    await post(server, key, 'users/batch', { users: [{ user_id: id, profile: { name: CANARY } }] })
    return id
  },
  '/api/v1/event-types/': async (server, key) =>
    (await post(server, key, 'event-types', eventType(newName()))).type as string,
  '/api/v1/templates/': async (server, key) => (await post(server, key, 'templates', template())).id as string,
  '/api/v1/keys/': async (server, key) =>
    (await post(server, key, 'keys', { name: CANARY, scopes: ['events:read'] })).id as string,
  '/api/v1/dead-letters/{job_id}/settle': (server) => dead(server, 'uncertain'),
  '/api/v1/dead-letters/': (server) => dead(server, 'failed'),
  '/api/v1/replays/': async ({ database }) => {
    const [replay] = await database.db.query<{ id: string }>(
      `insert into replay (id, company_id, started_by, idempotency_key, body_hash, filter, template, rate_per_second, total)
       values ((random() * 1e15)::bigint, $1, 'key', gen_random_uuid()::text, '', jsonb_build_object('reason', gen_random_uuid()),
         'same', 1, 1)
       returning id`,
      [OWNER.companyId],
    )
    return uuidOf(replay?.id ?? '')
  },
  '/api/v1/outbox/': async ({ database }) => {
    const [mail] = await database.db.query<{ id: string }>(
      `insert into outbox_mail (company_id, message_id, mail_from, mail_to, subject, text_part)
       values ($1, gen_random_uuid()::text, $2, $2, $2, $2) returning id`,
      [OWNER.companyId, CANARY],
    )
    return mail?.id ?? ''
  },
}

const dead = async ({ database }: TestApp, kind: 'failed' | 'uncertain'): Promise<string> => {
  const [id = ''] = await bury(database.db, 1, { ...OWNER, kind, reason: CANARY, body: CANARY })
  return uuidOf(id)
}

export function seedOf({ name, path }: Operation): Seed {
  const [, seed] = Object.entries(SEEDS).find(([start]) => path.startsWith(start)) ?? []
  if (!seed) throw new Error(`${name} needs a seed in test/security/examples.ts`)
  return seed
}

/** What the examples need to be there. */
export const prepare = ({ database }: TestApp): Promise<void> =>
  putEventType(database.db, OWNER.companyId, {
    type: 'test.happened',
    recipients: { path: 'user_id' },
    channels: ['ws'],
  })

/** A key of a company with every right. */
export async function keyOf(server: TestApp, companyId: string, scopes: readonly string[]): Promise<string> {
  const { body } = await server.call('POST', '/api/v1/keys', { name: companyId, scopes }, { 'x-company-id': companyId })
  return body.key as string
}

async function post(server: TestApp, key: string, path: string, body: unknown): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${key}`, ...fromSomewhere() }
  const answer = await server.call('POST', `/api/v1/${path}`, body, headers)
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body as Record<string, unknown>
}
