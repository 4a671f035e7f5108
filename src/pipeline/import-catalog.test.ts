import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { Channel } from '../channels/channel.ts'
import { AppError } from '../core/errors.ts'
import { payloadFaults } from '../core/payload-schema.ts'
import { plan } from '../core/plan.ts'
import { chooseTemplate, localeChain, templateCodes } from '../core/template-lookup.ts'
import { liquidRenderer } from '../render/liquid-renderer.ts'
import { deleteEventType, findEventType, listEventTypes } from '../store/event-type.ts'
import { deleteTemplate, findTemplates, listTemplates, updateTemplate } from '../store/template.ts'
import { importCatalog } from './import-catalog.ts'

const log = pino({ level: 'silent' })
const renderer = liquidRenderer()
const channels = new Map([
  ['email', { bodyFormat: 'html' } as Channel],
  ['ws', { bodyFormat: 'text' } as Channel],
])
let database: FreshDatabase
let folder: string

beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => Promise.all([database.close(), renderer.close()]))
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'catalog-'))
  await database.db.query('truncate catalog_file, template, event_type')
})
afterEach(() => rm(folder, { recursive: true }))

const importFrom = (...folders: string[]): Promise<void> =>
  importCatalog({ db: database.db, renderer, channels, log }, folders.length > 0 ? folders : [folder])

async function write(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(path.join(folder, file)), { recursive: true })
  await writeFile(path.join(folder, file), text)
}

const writeType = (type: string, change: object = {}): Promise<void> =>
  write(`${type}/event.json`, JSON.stringify({ type, recipients: { path: 'user_id' }, channels: ['ws'], ...change }))

const templates = () => listTemplates(database.db, '', {}, { after: null, limit: 100 })
const faultsOf = async (importing: Promise<void>): Promise<string[]> => {
  const error = await importing.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof AppError)) throw new Error('the import has not failed as expected', { cause: error })
  return error.fields.map(({ field, message }) => `${path.relative(folder, field)}: ${message}`)
}

suite('the catalogue', () => {
  test('gives event types and their templates, by channel, service and language', async () => {
    await writeType('job.done', { template_code: 'ready' })
    await write('job.done/email.ru.liquid', '---\nsubject: Готово: {{ event.title }}\n---\n<p>{{ event.body }}</p>\n')
    await write('job.done/email.photo.lab.pt-br.liquid', '<p>photo</p>')
    await write('default/ws.en.liquid', '{{ event.body }}')

    await importFrom()

    expect(await findEventType(database.db, 'acme', 'job.done')).toMatchObject({
      version: 1,
      company_id: '',
      template_code: 'ready',
    })
    expect(
      (await templates()).map((one) => [one.template_code, one.channel, one.locale, one.subject, one.body]),
    ).toEqual([
      ['default', 'ws', 'en', null, '{{ event.body }}'],
      ['ready.photo.lab', 'email', 'pt-BR', null, '<p>photo</p>'],
      ['ready', 'email', 'ru', 'Готово: {{ event.title }}', '<p>{{ event.body }}</p>\n'],
    ])
  })

  test('makes no new version of what has not changed', async () => {
    await writeType('job.done')
    await write('job.done/ws.ru.liquid', 'a')

    await importFrom()
    await importFrom()

    expect((await templates()).map(({ version }) => version)).toEqual([1])
    expect(await findEventType(database.db, '', 'job.done')).toMatchObject({ version: 1 })
  })

  test('makes a new version of what has changed on disk', async () => {
    await writeType('job.done')
    await write('job.done/ws.ru.liquid', 'a')
    await importFrom()

    await writeType('job.done', { level: 'error' })
    await write('job.done/ws.ru.liquid', 'b')
    await importFrom()

    expect(await templates()).toMatchObject([{ version: 2, body: 'b' }])
    expect(await findEventType(database.db, '', 'job.done')).toMatchObject({ version: 2, level: 'error' })
  })

  test('leaves alone what was edited over the API, until the file changes', async () => {
    await write('default/ws.ru.liquid', 'a')
    await importFrom()
    const [first] = await templates()
    await updateTemplate(database.db, '', first!.public_id, { subject: null, body: 'edited' })

    await importFrom()
    const kept = await templates()
    await write('default/ws.ru.liquid', 'b')
    await importFrom()

    expect(kept).toMatchObject([{ version: 2, body: 'edited' }])
    expect(await templates()).toMatchObject([{ version: 3, body: 'b', public_id: first!.public_id }])
  })

  test('does not bring back what was deleted over the API, nor delete what is no longer a file', async () => {
    await writeType('job.done')
    await write('default/ws.ru.liquid', 'a')
    await write('default/ws.en.liquid', 'a')
    await importFrom()
    const [english] = await templates()
    await deleteTemplate(database.db, '', english!.public_id)
    await deleteEventType(database.db, '', 'job.done')

    await rm(path.join(folder, 'default/ws.ru.liquid'))
    await importFrom()

    expect((await templates()).map(({ locale }) => locale)).toEqual(['ru'])
    expect(await findEventType(database.db, '', 'job.done')).toBeNull()
  })

  test('of several folders is one: a later one overrides, and uses the layouts of an earlier one', async () => {
    await write('one/_layout.email.liquid', '<title>[[ subject ]]</title><body>[[ content ]]</body>')
    await write('one/default/email.en.liquid', '---\nsubject: One\n---\n<p>one</p>')
    await write('two/default/email.en.liquid', '---\nsubject: Two\n---\n<p>two</p>\n')
    await write('two/other/email.en.liquid', '---\nlayout: none\n---\n<p>bare</p>')

    await importFrom(path.join(folder, 'one'), path.join(folder, 'two'))

    expect((await templates()).map(({ body }) => body)).toEqual([
      '<title>Two</title><body><p>two</p></body>',
      '<p>bare</p>',
    ])
  })

  test('imported by many processes at once is imported once', async () => {
    await writeType('job.done')

    await Promise.all([importFrom(), importFrom(), importFrom()])

    expect(await findEventType(database.db, '', 'job.done')).toMatchObject({ version: 1 })
  })

  test('with faults is refused as a whole, and every fault is named with its file', async () => {
    await writeType('good')
    await write('broken/event.json', '{"type":')
    await write('typo/event.json', JSON.stringify({ type: 'typo', recipients: { path: 'nobody' }, chanels: ['ws'] }))
    await writeType('moved', { type: 'elsewhere' })
    await writeType('schema', { schema: { type: 'object', properties: { x: { $ref: 'https://example.com' } } } })
    await write('mail/email.ru.liquid', '<p title={{ data.x }}>{{ usr.name }}</p>{{ 1 | plural: "a", "b" }}')
    await write('mail/email.liquid', 'x')
    await write('mail/ws.ru.liquid', '---\nsubject\n---\n')
    await write('_layout.ws.liquid', '[[ footer ]]')
    await write('mail/ws.en.liquid', 'x')
    await write('mail/telegram.ru.liquid', '{{ not checked while the channel is not installed')

    const faults = await faultsOf(importFrom())

    expect(faults).toEqual([
      expect.stringMatching(/^broken\/event.json: .*JSON/),
      'mail/email.liquid: expected a name such as email.ru.liquid or email.photo.ru.liquid',
      'mail/ws.en.liquid: the layout needs "footer: …" in the head of the file',
      'mail/ws.ru.liquid: line 2: expected "name: text"',
      'moved/event.json: type: must be "moved", the name of its folder',
      expect.stringMatching(/^schema\/event.json: schema.properties.x.\$ref: must lead into this schema/),
      'typo/event.json: recipients.path: expected `user_id` or a path such as `data.user_ids`',
      expect.stringMatching(/^typo\/event.json: channels: /),
      expect.stringMatching(/^typo\/event.json: .*chanels/),
      'mail/email.ru.liquid: body, line 1: unknown variable usr; known: user, event, data, links, ad',
      'mail/email.ru.liquid: body, line 1: put quotes around the value of title',
      'mail/email.ru.liquid: body, line 1: plural lacks the forms few, many of ru',
    ])
    expect(await findEventType(database.db, '', 'good')).toBeNull()
  })

  test('that is not there is a fault', async () => {
    expect(await faultsOf(importFrom(path.join(folder, 'nowhere')))).toEqual(['nowhere: is not there'])
  })
})

suite('the built-in catalogue', () => {
  const FOLDERS = ['catalog', 'examples/cinema/catalog', 'examples/booking/catalog']
  beforeEach(() => importFrom(...FOLDERS))

  test('knows the vocabulary with its default channels', async () => {
    const types = await listEventTypes(database.db, '', { after: null, limit: 100 })

    expect(Object.fromEntries(types.map(({ type, channels }) => [type, channels.toSorted().join('+')]))).toEqual({
      'action.required': 'push+ws',
      'job.done': 'push+ws',
      'job.progress': 'ws',
      'message.new': 'ws',
      'reminder.due': 'push+ws',
      'system.alert': 'email+ws',
      booking_cancelled: 'push+telegram+ws',
      booking_created: 'push+telegram+ws',
      booking_reminder: 'push+telegram+ws',
      booking_rescheduled: 'push+telegram+ws',
      user_registered: 'email',
    })
  })

  test.each([
    ['job.progress', { job_id: 'j', percent: 101 }, ['data.percent']],
    ['job.progress', {}, ['data.job_id']],
    ['action.required', { options: ['A', { value: 'b', label: 'B' }] }, ['data.action_id']],
    ['action.required', { action_id: 7, options: [] }, ['data.options']],
    ['action.required', { action_id: 'act_777', service: 'vision_planner', options: ['A', 'B'] }, []],
    ['job.done', { job_id: 'abc123', service: 'photo_pipeline', anything: [1] }, []],
    ['user_registered', { user_id: 42, role: 'admin' }, ['data.role']],
  ])('knows what belongs to %s', async (name, data, faults) => {
    const type = await findEventType(database.db, '', name)

    expect(payloadFaults(type?.schema ?? {}, data, 'data').map(({ field }) => field)).toEqual(faults)
  })

  test('never lets progress be mailed or pushed', async () => {
    const type = await findEventType(database.db, '', 'job.progress')
    const installed = new Map(['ws', 'email', 'push'].map((name) => [name, { name, isInbox: name === 'ws' }]))
    const event = { type: 'job.progress', user_id: '1', title: '3 %', data: { job_id: 'j' } }

    expect(plan(event, type!, installed, new Date()).channels.map(({ name }) => name)).toEqual(['ws'])
    for (const channel of ['email', 'push']) {
      expect(() => plan({ ...event, channels: [channel] }, type!, installed, new Date())).toThrow(/never sent over/)
    }
  })

  const MAILED = [
    'action.required',
    'job.done',
    'message.new',
    'reminder.due',
    'system.alert',
    'default',
    'welcome_email',
  ]
  const CASES = MAILED.flatMap((code) => ['ru', 'en'].map((locale) => [code, locale] as const))

  test.each(CASES)('mails %s in %s, with what there is and with nothing but the necessary', async (code, locale) => {
    const stored = await findTemplates(database.db, '', templateCodes(code, { data: {} }), 'email')
    const locales = localeChain(locale, 'en')
    const found = chooseTemplate(stored, { codes: templateCodes(code, { data: {} }), locales, companyId: '' })
    const source = { subject: found?.subject ?? '', body: found?.body ?? '' }
    const links = { inbox: 'https://example.com/' }
    const bare = {
      user: { user_id: '1', locale },
      event: { type: code },
      data: { action_id: '1', options: ['A'] },
      links,
    }
    const rich = {
      user: { user_id: '1', name: '<Анна>', time_zone: 'Europe/Moscow' },
      event: {
        type: code,
        title: 'T & "t"',
        body: 'one\ntwo',
        level: 'critical',
        cta: { label: 'Go', url: '/a?b=1&c=2' },
      },
      data: { options: [{ value: 'a', label: '<A>' }], sender: 'Иван', due_at: '2026-05-05T12:00:00Z', code: 'E1' },
      links,
    }

    const plain = await renderer.render(source, 'html', bare, locale)
    const full = await renderer.render(source, 'html', rich, locale)

    expect(found).toMatchObject({ template_code: code, locale })
    expect(plain.subject).not.toBe('')
    expect(plain.body).toContain(`<html lang="${locale}"`)
    expect(full.body).toContain('href="https://example.com/a?b=1&amp;c=2"')
    expect(full.body).not.toContain('<A>')
    expect([...plain.body.matchAll(/<table(?! role="presentation")/g)]).toEqual([])
    expect(plain.body).not.toMatch(/\[\[|\]\]|\{\{|\{%/)
    expect(/[а-яё]/i.test(plain.body)).toBe(locale === 'ru')
  })

  test('says bookings in both languages on the page', async () => {
    for (const [locale, expected] of [
      ['ru', 'Запись № 7 отменена'],
      ['en', 'Booking no. 7 is cancelled'],
    ] as const) {
      const stored = await findTemplates(database.db, '', ['booking_cancelled'], 'ws')
      const template = stored.find((one) => one.locale === locale)
      const source = { subject: template!.subject ?? '', body: template!.body }
      const variables = { user: {}, event: {}, data: { booking_id: 7 }, links: {} }

      expect(await renderer.render(source, 'text', variables, locale)).toEqual({
        subject: expected,
        body: expect.any(String),
      })
    }
  })
})
