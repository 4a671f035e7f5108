import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { Channel } from '../channels/channel.ts'
import type { Scope } from '../core/scope.ts'
import { metrics } from '../metrics.ts'
import { liquidRenderer } from '../render/liquid-renderer.ts'
import { templateVersion } from '../store/template.ts'
import { httpServer } from './server.ts'
import { templateRoutes } from './templates.ts'

const log = pino({ level: 'silent' })
const renderer = liquidRenderer()
const SCOPES: Scope[] = ['templates:read', 'templates:write']
let database: FreshDatabase
let app: FastifyInstance

beforeAll(async () => {
  database = await freshDatabase()
  app = httpServer(
    { log, metrics: metrics() },
    {
      authenticate: {
        // sk_COMPANY, sk_ for the platform, sk_COMPANY.read for a key that may only read.
        service: async (key) => {
          const [companyId = '', right] = key.slice(3).split('.')
          return { keyId: key, companyId, scopes: right === 'read' ? ['templates:read'] : SCOPES }
        },
        user: async () => null,
      },
    },
  )
  const channels = new Map([
    ['email', { bodyFormat: 'html' } as Channel],
    ['ws', { bodyFormat: 'text' } as Channel],
  ])
  void app.register(templateRoutes({ db: database.db, renderer, channels }))
})
afterAll(async () => {
  await app.close()
  await renderer.close()
  await database.close()
})
beforeEach(() => database.db.query('truncate template'))

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

async function call(method: Method, path: string, body?: object | null, company = 'acme') {
  const headers = { authorization: `Bearer sk_${company}` }
  const answer = await app.inject({ method, url: `/api/v1/templates${path}`, headers, ...(body && { payload: body }) })
  return { status: answer.statusCode, body: answer.body === '' ? null : answer.json() }
}

const welcome = {
  template_code: 'welcome_email',
  channel: 'email',
  locale: 'ru',
  subject: 'Здравствуйте, {{ user.name }}',
  body: '<p>{{ user.name }}</p>',
}
const fieldsOf = ({ body }: { body: { errors?: { field: string }[] } }) => body.errors?.map(({ field }) => field)

suite('a template over HTTP', () => {
  test('is created, read, changed and deleted', async () => {
    const created = await call('POST', '', welcome)
    const { id } = created.body
    const changed = await call('PUT', `/${id}`, { ...welcome, subject: null, body: '<p>2</p>', version: 1 })
    const read = await call('GET', `/${id}`)
    const deleted = await call('DELETE', `/${id}`)
    const gone = await call('GET', `/${id}`)

    expect(created).toMatchObject({ status: 201, body: { ...welcome, company_id: 'acme', version: 1 } })
    expect(changed).toMatchObject({ status: 200, body: { id, version: 2, subject: null, body: '<p>2</p>' } })
    expect(read.body).toEqual(changed.body)
    expect([deleted.status, gone.status]).toEqual([204, 404])
  })

  test('with the same code, channel and locale is a conflict, however the locale is written', async () => {
    await call('POST', '', { ...welcome, locale: 'pt-BR' })

    expect((await call('POST', '', { ...welcome, locale: 'pt_br' })).status).toBe(409)
    expect((await call('POST', '', { ...welcome, locale: 'pt' })).status).toBe(201)
    expect((await call('POST', '', { ...welcome, locale: 'default' })).status).toBe(201)
  })

  test('that cannot be rendered safely is not saved, and every fault is named', async () => {
    const answer = await call('POST', '', {
      ...welcome,
      subject: '{{ usr }}',
      body: '<a href={{ data.url }}>\n<script>',
    })

    expect(answer).toMatchObject({
      status: 400,
      body: {
        errors: [
          { field: 'subject', message: 'line 1: unknown variable usr; known: user, event, data, links, ad' },
          { field: 'body', message: 'line 1: put quotes around the value of href' },
          { field: 'body', message: 'line 2: <script> is not allowed' },
        ],
      },
    })
  })

  test('cannot be changed into one with faults', async () => {
    const { id } = (await call('POST', '', welcome)).body

    const answer = await call('PUT', `/${id}`, { subject: null, body: '{{ data.x' })

    expect([answer.status, fieldsOf(answer)]).toEqual([400, ['body']])
    expect((await call('GET', `/${id}`)).body.version).toBe(1)
  })

  test.each([
    ['an unknown property', { ...welcome, is_current: true }, 'is_current'],
    ['the id of a version', { ...welcome, public_id: 'x' }, 'public_id'],
    ['a company', { ...welcome, company_id: 'other' }, 'company_id'],
    ['an unknown channel', { ...welcome, channel: 'pigeon' }, 'channel'],
    ['no language', { ...welcome, locale: '../ru' }, 'locale'],
    ['a code with a path', { ...welcome, template_code: '../x' }, 'template_code'],
    ['no body', { ...welcome, body: '' }, 'body'],
    ['too large a body', { ...welcome, body: 'x'.repeat(103_000) }, 'body'],
  ])('with %s is refused', async (_, body, field) => {
    const answer = await call('POST', '', body)

    expect([answer.status, fieldsOf(answer)]).toEqual([400, [field]])
  })

  test('keeps its code, channel and locale', async () => {
    const { id } = (await call('POST', '', welcome)).body

    const answer = await call('PUT', `/${id}`, { ...welcome, locale: 'en' })

    expect([answer.status, fieldsOf(answer)]).toEqual([400, ['locale']])
  })

  test('is not changed over the head of another editor', async () => {
    const { id } = (await call('POST', '', welcome)).body
    await call('PUT', `/${id}`, { body: '<p>a</p>', version: 1 })

    expect((await call('PUT', `/${id}`, { body: '<p>b</p>', version: 1 })).status).toBe(409)
  })

  test('of another company does not exist', async () => {
    const { id } = (await call('POST', '', welcome)).body

    for (const company of ['other', '']) {
      expect((await call('GET', `/${id}`, null, company)).status).toBe(404)
      expect((await call('PUT', `/${id}`, { body: 'x' }, company)).status).toBe(404)
      expect((await call('DELETE', `/${id}`, null, company)).status).toBe(404)
      expect((await call('POST', '/preview', { id }, company)).status).toBe(404)
      expect((await call('GET', '', null, company)).body.items).toEqual([])
    }
  })

  test('of the platform is read by companies and changed by nobody but the platform', async () => {
    const { id } = (await call('POST', '', welcome, '')).body

    expect((await call('GET', `/${id}`)).body).toMatchObject({ id, company_id: null })
    expect((await call('PUT', `/${id}`, { body: 'x' })).status).toBe(403)
    expect((await call('DELETE', `/${id}`)).status).toBe(403)
    expect((await call('POST', '', welcome)).status).toBe(201)
    expect((await call('PUT', `/${id}`, { body: 'x' }, '')).status).toBe(200)
  })

  test('is not written with a key that may only read', async () => {
    expect((await call('POST', '', welcome, 'acme.read')).status).toBe(403)
    expect((await call('GET', '', null, 'acme.read')).status).toBe(200)
  })

  test('is listed page by page', async () => {
    for (const locale of ['ru', 'en', 'de']) await call('POST', '', { ...welcome, locale, subject: null })

    const first = await call('GET', '?limit=2')
    const second = await call('GET', `?limit=2&after=${first.body.next}`)
    const filtered = await call('GET', '?locale=en&template_code=welcome_email&channel=email')

    expect([...first.body.items, ...second.body.items].map(({ locale }) => locale)).toEqual(['ru', 'en', 'de'])
    expect([second.body.next, filtered.body.items.length]).toEqual([null, 1])
    expect((await call('GET', '?after=nonsense')).status).toBe(400)
  })

  test('keeps its versions for what was sent from them', async () => {
    const { id } = (await call('POST', '', welcome)).body
    const [row] = await database.db.query<{ id: string }>('select id from template')

    await call('PUT', `/${id}`, { body: '<p>2</p>' })
    await call('DELETE', `/${id}`)

    expect(await templateVersion(database.db, row!.id)).toMatchObject({ body: '<p>{{ user.name }}</p>' })
  })
})

suite('a preview', () => {
  test('shows subject, HTML and text of an unsaved template', async () => {
    const { subject, body, channel, locale } = welcome

    const answer = await call('POST', '/preview', {
      subject,
      channel,
      locale,
      body: `${body}<p><a href="{{ event.cta.url }}">Go</a></p>`,
      variables: { user: { name: '<Анна>' }, event: { cta: { url: 'https://example.com/a' } } },
    })

    expect(answer).toEqual({
      status: 200,
      body: {
        subject: 'Здравствуйте, <Анна>',
        html: '<p>&lt;Анна&gt;</p><p><a href="https://example.com/a">Go</a></p>',
        text: '<Анна>\n\nGo <https://example.com/a>',
      },
    })
  })

  test('shows a stored template, and plain text as it is', async () => {
    const { id } = (
      await call('POST', '', { ...welcome, channel: 'ws', subject: null, body: '{{ data.n }} & {{ links.inbox }}' })
    ).body

    const answer = await call('POST', '/preview', { id, variables: { data: { n: 5 } } })

    expect(answer.body).toEqual({ subject: '', html: null, text: '5 & https://example.com/' })
  })

  test.each([
    ['a variable is missing', { subject: 'a {{ user.nmae }}', body: 'x' }, ['subject']],
    ['the template has faults', { body: '<p title={{ data.x }}>' }, ['body']],
    [
      'the template takes too long',
      {
        body: '{% for a in (1..900) %}{% for b in (1..900) %}{% for c in (1..900) %}{% endfor %}{% endfor %}{% endfor %}',
      },
      ['body'],
    ],
    ['a filter gets nonsense', { body: '{{ "x" | money: "euro" }}' }, ['body']],
    ['nothing says what to show', { variables: {} }, ['id']],
  ])('says so when %s', async (_, source, fields) => {
    const answer = await call(
      'POST',
      '/preview',
      'variables' in source ? source : { channel: 'email', locale: 'en', ...source },
    )

    expect([answer.status, fieldsOf(answer)]).toEqual([400, fields])
  })
})
