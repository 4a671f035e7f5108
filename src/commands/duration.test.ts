import { expect, suite, test } from 'vitest'
import { seconds } from './duration.ts'

suite('a duration', () => {
  test.each([
    ['90', 90],
    ['90s', 90],
    ['15m', 900],
    ['12h', 43_200],
    ['30d', 2_592_000],
  ])('%s is %d seconds', (text, value) => {
    expect(seconds(text)).toBe(value)
  })

  test.each(['', '0', '-5m', '1.5h', '5 m', '1w', 'm', '9999999999d', '1e3', '15min'])('%j is none', (text) => {
    expect(() => seconds(text)).toThrow('Expected a duration such as 90s')
  })
})
