import { expect, suite, test } from 'vitest'
import { partlyHidden, partlyHiddenAddress } from './partly-hidden.ts'

suite('an address in a dead letter', () => {
  test.each([
    ['anna@example.com', 'a***@example.com'],
    ['+4915112345678', '+4***78'],
    ['https://push.example/abc', 'ht***bc'],
    ['short', '***'],
    ['@', '***'],
  ])('%s is shown as %s', (value, shown) => {
    expect(partlyHiddenAddress(value)).toBe(shown)
  })

  test('is never whole, wherever it stands', () => {
    const payload = {
      to: 'anna@example.com',
      list: ['write to анна@почта.рф today', { phone: 'call +49 151 1234-5678' }],
      order: 'order 4915112345678 of 2026-03-01',
      link: 'https://a.test/x?token=secret-token',
      count: 3,
      none: null,
    }

    expect(partlyHidden(payload)).toEqual({
      to: 'a***@example.com',
      list: ['write to а***@почта.рф today', { phone: 'call +4***78' }],
      order: 'order 4915112345678 of 2026-03-01',
      link: 'https://a.test/x?[redacted]',
      count: 3,
      none: null,
    })
  })
})
