import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { safeUrl } from './safe-url.ts'

suite('safeUrl', () => {
  test.each([
    ['https://example.com', 'https://example.com/'],
    ['HTTPS://Example.COM/a?b=c#d', 'https://example.com/a?b=c#d'],
    ['http://127.0.0.1:3000/app', 'http://127.0.0.1:3000/app'],
    ['https://пример.рф/путь', 'https://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C'],
    ['https://example.com/a@b', 'https://example.com/a@b'],
    ['/app/jobs/1?x=1#top', '/app/jobs/1?x=1#top'],
    ['/', '/'],
    ['/a/../b', '/b'],
    ['mailto:help@example.com', 'mailto:help@example.com'],
    ['mailto:help@example.com?subject=Hi', 'mailto:help@example.com?subject=Hi'],
    ['tel:+7(999)123-45-67', 'tel:+7(999)123-45-67'],
  ])('lets %j pass as %j', (text, expected) => {
    expect(safeUrl(text)).toBe(expected)
  })

  test.each([
    '',
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\nscript:alert(1)',
    'java\tscript:alert(1)',
    '\tjavascript:alert(1)',
    ' javascript:alert(1)',
    '\u0001javascript:alert(1)',
    'javascript\u200B:alert(1)',
    'javascript&colon;alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:msgbox(1)',
    'file:///etc/passwd',
    'blob:https://example.com/1',
    'about:blank',
    'view-source:https://example.com',
    'intent://scan/#Intent;end',
    'tg://user?id=1',
    'ws://example.com',
    '//evil.com',
    '///evil.com',
    '/\\evil.com',
    '\\\\evil.com',
    '\\/evil.com',
    '/\t/evil.com',
    '/\n/evil.com',
    '/.//evil.com',
    '/a/..//evil.com',
    'https:evil.com',
    'https:/evil.com',
    'https:///evil.com',
    'https://',
    'https://ok.com@evil.com',
    'https://user:secret@evil.com',
    'https://@evil.com',
    'https://ok.com\\@evil.com',
    'https://evil.com\u202Emoc.ko',
    'https://exa mple.com',
    'https://example.com/a b',
    ' https://example.com',
    'https://example.com\u0000',
    'https://example.com\uD800',
    'https://[::1',
    'example.com',
    'app/jobs',
    '#top',
    '?a=1',
    'mailto:a@b.com,c@d.com',
    'mailto:a@b.com?bcc=c@d.com',
    'mailto:a@b.com%0d%0abcc:c@d.com',
    'mailto:a@b.com?subject=x%0Abcc:c@d.com',
    'mailto:nobody',
    'tel:abc',
    'tel:+7;ext=1?x',
    `https://example.com/${'a'.repeat(2048)}`,
  ])('refuses %j', (text) => {
    expect(safeUrl(text)).toBeNull()
  })

  test('gives only what it would let pass again unchanged', () => {
    const piece = fc.constantFrom(
      'https:',
      'http:',
      '/',
      '\\',
      '@',
      '.',
      '..',
      'a.b',
      '%2f',
      '?',
      '#',
      ':',
      '\t',
      'javascript:',
      '[',
      '💥',
    )

    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const url = safeUrl(pieces.join(''))

        if (url !== null) expect(safeUrl(url)).toBe(url)
        if (url?.startsWith('/')) expect(new URL(url, 'https://site.test').host).toBe('site.test')
      }),
      { numRuns: 5000 },
    )
  })
})
