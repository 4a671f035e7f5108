import { expect, suite, test } from 'vitest'
import { safeLink } from './safe-link.ts'

const base = 'https://app.example.org'

suite('a link', () => {
  test.each([
    ['https://example.com/a?b=c#d', 'https://example.com/a?b=c#d'],
    ['http://localhost:3000/x', 'http://localhost:3000/x'],
    ['/jobs/1', 'https://app.example.org/jobs/1'],
    ['/', 'https://app.example.org/'],
    ['tel:+7(999)123-45-67', 'tel:+7(999)123-45-67'],
    ['mailto:help@example.org', 'mailto:help@example.org'],
  ])('%s is offered', (url, expected) => {
    expect(safeLink(url, base)).toBe(expected)
  })

  test.each([
    '',
    'javascript:alert(1)',
    'JAVASCRIPT:alert(1)',
    'java\nscript:alert(1)',
    '\tjavascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://example.com/1',
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    'https://ok.example@evil.example',
    'https:evil.example',
    'https:///evil.example',
    'jobs/1',
    'mailto:a@b.example,c@d.example',
    'mailto:a@b.example?bcc=c@d.example',
    'tel:abc',
    '#top',
  ])('%j is not', (url) => {
    expect(safeLink(url, base)).toBeNull()
  })
})
