import { expect, suite, test } from 'vitest'
import { isAllowedOrigin } from './origin.ts'

const allowed = new Set(['https://app.example.org', 'http://localhost:5173'])

suite('an origin', () => {
  test.each([
    ['https://app.example.org', true],
    ['http://localhost:5173', true],
    ['https://notify.example.org', true], // the server's own host
    ['http://notify.example.org', true], // TLS ended at a proxy, or not
    [undefined, true], // no browser
    ['null', false],
    ['', false],
    ['https://evil.example', false],
    ['http://app.example.org', false], // another scheme is another origin
    ['https://app.example.org:8443', false],
    ['https://app.example.org.evil.example', false],
    ['https://evil-app.example.org', false],
    ['https://app.example.org/', false],
    ['https://APP.example.org', false], // browsers send lower case
    ['https://notify.example.org.evil.example', false],
    ['https://notify.example.org:444', false],
    ['file://', false],
    ['chrome-extension://abcdef', false],
    ['https://evil.example https://app.example.org', false],
  ])('%s is allowed: %s', (origin, expected) => {
    expect(isAllowedOrigin(origin, 'notify.example.org', allowed)).toBe(expected)
  })

  test('is refused when there is no host to be the same as', () => {
    expect(isAllowedOrigin('https://undefined', undefined, allowed)).toBe(false)
  })
})
