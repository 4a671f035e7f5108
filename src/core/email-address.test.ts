import { expect, suite, test } from 'vitest'
import fc from 'fast-check'
import { domainOf, parseAddress } from './email-address.ts'

const ACCEPTED: [text: string, address: string][] = [
  ['ivan@example.com', 'ivan@example.com'],
  ['Ivan.Petrov+tag@EXAMPLE.com', 'Ivan.Petrov+tag@example.com'],
  ["o'neil@example.com", "o'neil@example.com"],
  ['ivan@почта.рф', 'ivan@xn--80a1acny.xn--p1ai'],
  ['ivan@bücher.example', 'ivan@xn--bcher-kva.example'],
  ['ivan@xn--bcher-kva.example', 'ivan@xn--bcher-kva.example'],
  ['root@localhost', 'root@localhost'],
  ['a@b.co', 'a@b.co'],
  [`${'x'.repeat(64)}@example.com`, `${'x'.repeat(64)}@example.com`],
]

const REFUSED = [
  '',
  '@',
  'ivan',
  'ivan@',
  '@example.com',
  'ivan@@example.com',
  'ivan@exa@mple.com',
  ' ivan@example.com',
  'ivan@example.com ',
  'ivan @example.com',
  'ivan@example.com\n',
  'ivan@example.com\r\nBcc: evil@example.org',
  'ivan@example.com\0',
  'ivan@example.com, evil@example.org',
  'ivan@example.com;evil@example.org',
  'group: ivan@example.com;',
  '"ivan"@example.com',
  '"evil@example.org "@example.com',
  '<ivan@example.com>',
  'Ivan <ivan@example.com>',
  'ivan(comment)@example.com',
  'ivan@(comment)example.com',
  'ivan@[127.0.0.1]',
  'ivan@127.0.0.1',
  'ivan@0x7f.1',
  'ivan@2130706433',
  'ivan@example..com',
  'ivan@.example.com',
  'ivan@example.com.',
  'ivan@-example.com',
  'ivan@example-.com',
  'ivan@exa_mple.com',
  'ivan@exa%6dple.com',
  'ivan@example.com/path',
  'ivan@example.com:25',
  'ivan@example.com?subject=x',
  'ivan%example.org@example.com',
  'example.org!ivan@example.com',
  '.ivan@example.com',
  'ivan.@example.com',
  'iv..an@example.com',
  'иван@example.com',
  'ivan@example。com',
  'ivan@exam\u200bple.com',
  'ivan@example\u202e.com',
  'ivan\u0000@example.com',
  'ivan\\@example.com',
  `${'x'.repeat(65)}@example.com`,
  `ivan@${'x'.repeat(64)}.com`,
  `ivan@${'abcdefgh.'.repeat(30)}com`,
  `ivan@${'ю'.repeat(200)}.com`,
]

suite('an e-mail address', () => {
  test.each(ACCEPTED)('%j is accepted in its canonical form', (text, address) => {
    expect(parseAddress(text)).toBe(address)
  })

  test.each(REFUSED)('%j is refused', (text) => {
    expect(parseAddress(text)).toBeNull()
  })

  test('in its canonical form is safe to write into a command or a header, whatever the text was', () => {
    const parts = fc.constantFrom(
      ...'ab.@,;:<>()[]"\\ \r\n\0\t%!=ю。ｅ\u200b\u202e-_1'.split(''),
      'xn--',
      '@example.com',
      '\r\nRCPT TO:',
    )
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 40 }), (texts) => {
        const address = parseAddress(texts.join(''))
        if (address === null) return

        expect(address).toMatch(/^[\w#$&'*+/=?^`{|}~.-]+@[a-z0-9.-]+$/)
        expect(parseAddress(address)).toBe(address)
      }),
      { numRuns: 2000 },
    )
  })

  test('knows its domain', () => {
    expect(domainOf('ivan@example.com')).toBe('example.com')
  })
})
