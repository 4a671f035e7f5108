import { expect, suite, test } from 'vitest'
import { scrub } from './scrub.ts'

suite("a server's words", () => {
  test.each([
    ['<ivan@example.org>: unknown', '<…>: unknown'],
    ['IVAN@example.org, petr@example.net', '…, …'],
    ['Local mailbox ivan is unavailable', 'Local mailbox … is unavailable'],
    ['user "Ivan" unknown', 'user "…" unknown'],
    ['bounce+ivan=40example.org refused', '… refused'],
    ['see https://help.example.org/?to=ivan%40example.org now', 'see https:… now'],
    ['иван@почта.рф не найден', '… не найден'],
    ['ivanov stays, ivan-2 stays', 'ivanov stays, ivan-2 stays'],
    ['two\r\nlines\0 and \u202eturned', 'two lines and turned'],
  ])('%j are kept as %j', (text, kept) => {
    expect(scrub(text, 'ivan@example.org')).toBe(kept)
  })

  test('are cut short, quickly', () => {
    expect(scrub('x@'.repeat(100_000), 'ivan@example.org').length).toBeLessThanOrEqual(300)
    expect(scrub('word '.repeat(100_000), 'ivan@example.org')).toHaveLength(300)
  })

  test('keep their meaning when the name is one letter or full of signs', () => {
    expect(scrub('a user is unknown', 'a@example.org')).toBe('a user is unknown')
    expect(scrub('a.+b* is unknown', 'a.+b*@example.org')).toBe('… is unknown')
  })
})
