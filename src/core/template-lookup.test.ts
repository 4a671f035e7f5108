import { expect, suite, test } from 'vitest'
import { canonicalLocale, localeChain, chooseTemplate, templateCodes } from './template-lookup.ts'

const template = (template_code: string, locale: string, company_id = '') => ({ template_code, locale, company_id })

suite('the locale chain', () => {
  test.each([
    ['ru-RU', 'en', ['ru-RU', 'ru', 'en', 'default']],
    ['ru_ru', 'en-GB', ['ru-RU', 'ru', 'en-GB', 'en', 'default']],
    ['zh-hant-tw', 'zh', ['zh-Hant-TW', 'zh-Hant', 'zh', 'default']],
    [null, 'ru', ['ru', 'default']],
    ['', 'ru', ['ru', 'default']],
    ['../../etc', 'ru', ['ru', 'default']],
    ['русский', 'en', ['en', 'default']],
  ])('of %j is tried before that of %j', (locale, defaultLocale, expected) => {
    expect(localeChain(locale, defaultLocale)).toEqual(expected)
  })

  test('knows a locale by any spelling', () => {
    expect(['RU', 'pt_br', 'x'].map(canonicalLocale)).toEqual(['ru', 'pt-BR', null])
  })
})

suite('the codes of an event', () => {
  test('begin with its service', () => {
    expect(templateCodes('job.done', { data: { service: 'photo' } })).toEqual(['job.done.photo', 'job.done', 'default'])
  })

  test('need no service', () => {
    expect(templateCodes('welcome_email', { data: { service: 7 } })).toEqual(['welcome_email', 'default'])
  })
})

suite('a template', () => {
  const codes = ['job.done.photo', 'job.done', 'default']
  const locales = ['ru-RU', 'ru', 'en']
  const pick = (...templates: ReturnType<typeof template>[]) =>
    chooseTemplate(templates, { codes, locales, companyId: 'acme' })

  test('about the service wins over the one of the type', () => {
    expect(pick(template('job.done', 'ru'), template('job.done.photo', 'ru'))?.template_code).toBe('job.done.photo')
  })

  test('about the event in another language wins over the general one', () => {
    expect(pick(template('default', 'ru'), template('job.done', 'en'))?.template_code).toBe('job.done')
  })

  test('in the nearer language wins, even of the platform', () => {
    expect(pick(template('job.done', 'en', 'acme'), template('job.done', 'ru'))).toEqual(template('job.done', 'ru'))
  })

  test('of the company wins over that of the platform, in any order', () => {
    const own = template('job.done', 'ru', 'acme')
    const platform = template('job.done', 'ru')

    expect([pick(own, platform), pick(platform, own)]).toEqual([own, own])
  })

  test('of another company is not used', () => {
    expect(pick(template('job.done', 'ru', 'other'))).toBeNull()
  })

  test('in a language that nobody asked for is not used', () => {
    expect(pick(template('job.done', 'de'), template('other', 'ru'))).toBeNull()
  })
})
