import { afterAll, beforeAll, beforeEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import type { TemplateDraft } from './template.ts'
import {
  deleteTemplate,
  findTemplate,
  findTemplates,
  insertTemplate,
  listTemplates,
  putTemplate,
  templateVersion,
  updateTemplate,
} from './template.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())
beforeEach(() => database.db.query('truncate template'))

const draft = (change: Partial<TemplateDraft> = {}): TemplateDraft => ({
  template_code: 'welcome_email',
  channel: 'email',
  locale: 'ru',
  subject: 'Здравствуйте',
  body: '<p>1</p>',
  ...change,
})

suite('a stored template', () => {
  test('cannot be created twice, but by another company it can', async () => {
    const { db } = database
    await insertTemplate(db, 'acme', draft())

    await expect(insertTemplate(db, 'acme', draft())).rejects.toMatchObject({ code: 'conflict' })
    await expect(insertTemplate(db, '', draft())).resolves.toMatchObject({ version: 1, company_id: '' })
  })

  test('created by many at once exists once', async () => {
    const { db } = database

    const ends = await Promise.allSettled(Array.from({ length: 8 }, () => insertTemplate(db, 'acme', draft())))

    expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(1)
    expect(ends.find((end) => end.status === 'rejected')?.reason).toMatchObject({ code: 'conflict' })
  })

  test('keeps every version', async () => {
    const { db } = database
    const first = await insertTemplate(db, 'acme', draft())

    const second = await updateTemplate(db, 'acme', first.public_id, { subject: 'Привет', body: '<p>2</p>' })

    expect(second).toMatchObject({
      public_id: first.public_id,
      version: 2,
      body: '<p>2</p>',
      template_code: 'welcome_email',
    })
    expect(await findTemplate(db, 'acme', first.public_id)).toEqual(second)
    expect(await templateVersion(db, first.id)).toEqual(first)
  })

  test('is not changed over the head of another editor', async () => {
    const { db } = database
    const { public_id: id } = await insertTemplate(db, 'acme', draft())
    const text = { subject: null, body: '2' }

    const ends = await Promise.all([updateTemplate(db, 'acme', id, text, 1), updateTemplate(db, 'acme', id, text, 1)])

    expect(ends.filter((end) => end !== null)).toHaveLength(1)
  })

  test('changed by many at once loses no version', async () => {
    const { db } = database
    const { public_id: id } = await insertTemplate(db, 'acme', draft())

    await Promise.all(Array.from({ length: 6 }, () => updateTemplate(db, 'acme', id, { subject: null, body: '2' })))

    const rows = await db.query<{ version: number; is_current: boolean }>(
      'select version, is_current from template order by 1',
    )
    expect(rows.filter((row) => row.is_current)).toEqual([rows.at(-1)])
  })

  test('of one company is nothing to another', async () => {
    const { db } = database
    const { public_id: id } = await insertTemplate(db, 'acme', draft())

    expect(await findTemplate(db, 'other', id)).toBeNull()
    expect(await updateTemplate(db, 'other', id, { subject: null, body: '' })).toBeNull()
    expect(await deleteTemplate(db, 'other', id)).toBe(false)
    expect(await findTemplates(db, 'other', ['welcome_email'], 'email')).toEqual([])
    expect(await listTemplates(db, 'other', {}, { after: null, limit: 10 })).toEqual([])
  })

  test('that is deleted is only found by its version, and may be created again', async () => {
    const { db } = database
    const first = await insertTemplate(db, 'acme', draft())

    await deleteTemplate(db, 'acme', first.public_id)

    expect(await findTemplate(db, 'acme', first.public_id)).toBeNull()
    expect(await templateVersion(db, first.id)).toEqual(first)
    expect(await insertTemplate(db, 'acme', draft())).toMatchObject({ version: 2 })
  })

  test('is put whether it exists or not', async () => {
    const { db } = database

    await putTemplate(db, '', draft())
    await putTemplate(db, '', draft({ body: '2' }))

    const [found] = await findTemplates(db, 'acme', ['welcome_email'], 'email')
    expect(found).toMatchObject({ version: 2, body: '2' })
  })

  test('is listed page by page with those of the platform', async () => {
    const { db } = database
    await insertTemplate(db, '', draft())
    await insertTemplate(db, 'acme', draft({ locale: 'en' }))
    await insertTemplate(db, 'acme', draft({ channel: 'push' }))

    const first = await listTemplates(db, 'acme', {}, { after: null, limit: 2 })
    const second = await listTemplates(db, 'acme', {}, { after: first.at(-1)!.id, limit: 2 })

    expect([...first, ...second].map(({ company_id, locale, channel }) => [company_id, locale, channel])).toEqual([
      ['', 'ru', 'email'],
      ['acme', 'en', 'email'],
      ['acme', 'ru', 'push'],
    ])
    expect(await listTemplates(db, 'acme', { locale: 'en' }, { after: null, limit: 9 })).toHaveLength(1)
  })
})
