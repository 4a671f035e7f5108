import { expect, suite, test } from 'vitest'
import { parseSender } from './sender.ts'

suite('MAIL_FROM', () => {
  test.each([
    ['news@example.com', { name: '', address: 'news@example.com' }],
    ['<news@example.com>', { name: '', address: 'news@example.com' }],
    ['Example <news@EXAMPLE.com>', { name: 'Example', address: 'news@example.com' }],
    ['"Example, Inc." <news@example.com>', { name: 'Example, Inc.', address: 'news@example.com' }],
    ['Кинотеатр «Звезда» <news@звезда.рф>', { name: 'Кинотеатр «Звезда»', address: 'news@xn--80adgdic.xn--p1ai' }],
  ])('%s is a sender', (text, sender) => {
    expect(parseSender(text)).toEqual(sender)
  })

  test.each([
    'Example',
    'Example news@example.com',
    'Example <news>',
    'Example <news@example.com>, Other <other@example.com>',
    'Example <news@example.com',
    'Exam\r\nBcc: evil@example.com <news@example.com>',
    'evil@example.com <news@example.com>',
    'Exam\u202eple <news@example.com>',
    '"a\\" <evil@example.com>" <news@example.com>',
    `${'x'.repeat(101)} <news@example.com>`,
  ])('%j is refused', (text) => {
    expect(() => parseSender(text)).toThrow(/^expected an address/)
  })
})
