import { expect, suite, test } from 'vitest'
import { testMessage } from '../../../test/message.ts'
import { composeMail } from './mail.ts'

const FROM = { name: 'Example', address: 'news@example.com' }
const compose = (message: ReturnType<typeof testMessage>) => composeMail(message, FROM, 'ivan@example.org')

suite('the mail of a template', () => {
  test('has the HTML as a page, and its words with the link targets as text', () => {
    const body =
      '<h1>Paid</h1><p>Thank you, <b>Ivan</b>.</p><p><a href="https://example.com/o/1">Your order</a></p><img src="x.png" alt="x">'

    const mail = compose(testMessage({ subject: 'Paid', body, format: 'html' }))

    expect(mail.text).toBe('Paid\n\nThank you, Ivan.\n\nYour order <https://example.com/o/1>')
    expect(mail.html).toContain(body)
    expect(mail.html).toMatch(/^<!doctype html>\n<html lang="en" dir="ltr">/)
  })

  test('that is a page already stays as it is', () => {
    const body = '<!doctype html><html lang="ru"><body><p>Привет</p></body></html>'

    const mail = compose(testMessage({ body, format: 'html' }))

    expect(mail).toMatchObject({ html: body, text: 'Привет' })
  })

  test('has a text even where the HTML has no words', () => {
    expect(compose(testMessage({ subject: 'Paid', body: '<img src="a.png">', format: 'html' })).text).toBe('Paid')
    expect(compose(testMessage({ subject: '', body: '', format: 'html' })).text).toBe('Order paid')
  })

  test('nested a hundred thousand times neither fails nor takes long', () => {
    const startedAt = performance.now()
    const mail = compose(testMessage({ body: `${'<div>'.repeat(100_000)}deep`, format: 'html' }))

    expect(mail.text).not.toBe('')
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })
})

suite("the mail of an event's own text", () => {
  test('has title, paragraphs and link in both parts, and no markup of its own', () => {
    const cta = { label: 'Open & see', url: 'https://example.com/?a=1&b="2"' }

    const mail = compose(testMessage({ subject: 'A <b>', body: 'One & <script>\ntwo\n\nThree' }, { cta }))

    expect(mail.subject).toBe('A <b>')
    expect(mail.text).toBe('One & <script>\ntwo\n\nThree\n\nOpen & see: https://example.com/?a=1&b="2"')
    expect(mail.html).toContain('<h1 style="font-size:20px;margin:0 0 16px" dir="auto">A &lt;b&gt;</h1>')
    expect(mail.html).toContain('<p dir="auto">One &amp; &lt;script&gt;<br>\ntwo</p>')
    expect(mail.html).toContain('<a href="https://example.com/?a=1&amp;b=&quot;2&quot;">Open &amp; see</a>')
    expect(mail.html).not.toContain('<script')
  })

  test('is never empty', () => {
    expect(compose(testMessage({ subject: 'Paid', body: ' ' })).text).toBe('Paid')
    expect(compose(testMessage({ subject: '', body: '' }, { title: '' }))).toMatchObject({
      subject: 'order.paid',
      text: 'order.paid',
    })
  })

  test('is read in its direction', () => {
    expect(compose({ ...testMessage(), locale: 'ar' }).html).toContain('<html lang="ar" dir="rtl">')
    expect(compose({ ...testMessage(), locale: 'ru-RU' }).html).toContain('<html lang="ru-RU" dir="ltr">')
  })

  test('has no controls but line breaks and tabs', () => {
    const mail = compose(testMessage({ body: 'a\0b\u0007\r\nc\td\re\ud800' }))

    expect(mail.text).toBe('ab\nc\td\ne\ufffd')
  })
})

suite('a subject', () => {
  test.each([
    ['Paid\r\nBcc: evil@example.com', 'Paid Bcc: evil@example.com'],
    ['a\0b\tc\u2028d', 'a b c d'],
    ['\u202eevil\u202c \u2066x\u2069', 'evil x'],
    ['  spaced   out ', 'spaced out'],
    ['\ud800', '\ufffd'],
  ])('%j becomes %j', (subject, expected) => {
    expect(compose(testMessage({ subject })).subject).toBe(expected)
  })

  test('is cut between characters', () => {
    const { subject } = compose(testMessage({ subject: '👩‍👩‍👧'.repeat(100) }))

    expect(subject.length).toBeLessThanOrEqual(200)
    expect(subject).toMatch(/^(👩‍👩‍👧)+…$/u)
  })
})

test('a mail keeps its Message-ID on every attempt', () => {
  const ids = [compose(testMessage()), compose(testMessage({ subject: 'Other' }))].map(({ messageId }) => messageId)

  expect(new Set(ids)).toEqual(new Set(['<dlv-0190a1b2-0000-8000-8000-00000000002a@example.com>']))
})
