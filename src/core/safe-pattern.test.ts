import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { safePattern } from './safe-pattern.ts'

const PATTERNS = [
  '^[a-z]+$',
  'a|bc|',
  '^(?:ab|a)(?:c|bcd)*$',
  '^(a*)*$',
  '^\\d{2,4}-\\p{L}+$',
  '^[^@]+@[^@.]+(?:\\.[^@.]+)+$',
  '^(?<year>\\d{4})$',
  'x{0}y{1}z{2,}',
  '^[\\]a-c\\-]+?$',
  '.\\.\\w\\W',
  '^(?:){3}a$',
  '(a|b|c){2,3}$',
]

suite('a pattern', () => {
  test('finds what the built-in engine finds', () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom(...Array.from('abcdxyz0129@.-] \n_é😀')) }),
      fc.string({ unit: 'grapheme' }),
    )

    fc.assert(
      fc.property(fc.constantFrom(...PATTERNS), text, (source, value) => {
        expect(safePattern(source).test(value)).toBe(new RegExp(source, 'u').test(value))
      }),
      { numRuns: 3000 },
    )
  })

  test.each(['^(a+)+$', '^(a|a)*$', '^(a*)*$', '^a*a*a*a*a*a*b$', '(x+x+)+y', '^([a-z]|[a-y])+$'])(
    '%s takes no time on the text that hangs others',
    (source) => {
      const pattern = safePattern(source)
      const startedAt = performance.now()

      pattern.test(`${'a'.repeat(9_000)}!`)

      expect(performance.now() - startedAt).toBeLessThan(1_000)
    },
  )

  test.each([
    ['(?=a)', 'look-around'],
    ['(?<!a)b', 'look-around'],
    ['(a)\\1', 'back reference'],
    ['\\bword', 'word boundary'],
    ['(?i:a)', 'group'],
    ['(', 'not a regular expression'],
    ['(?:a{1000}){1000}', 'too large'],
    ['(?:(?:(?:){999}){999}){999}', 'too large'],
    ['a'.repeat(501), 'longer'],
  ])('%s is refused', (source, reason) => {
    expect(() => safePattern(source)).toThrow(reason)
  })
})
