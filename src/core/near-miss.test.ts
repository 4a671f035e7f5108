import { expect, suite, test } from 'vitest'
import { editDistance, nearMiss } from './near-miss.ts'

suite('a mistyped name', () => {
  test.each([
    ['DATABSE_URL', 'DATABASE_URL'],
    ['DATABASEURL', 'DATABASE_URL'],
    ['DATABASE_ULR', 'DATABASE_URL'],
    ['SMTP_URI', 'SMTP_URL'],
    ['PROT', 'PORT'],
    ['ROLE', 'ROLES'],
  ])('%s is recognised as %s', (name, meant) => {
    expect(nearMiss(name, ['PORT', 'ROLES', 'HOST', 'SMTP_URL', 'DATABASE_URL'])).toBe(meant)
  })

  test.each(['HOME', 'PATH', 'PWD', 'LANG', 'HOSTNAME', 'DATABASE_POOL', 'SMTP_HOST'])('%s is left alone', (name) => {
    expect(nearMiss(name, ['PORT', 'HOST', 'SMTP_URL', 'DATABASE_URL'])).toBeNull()
  })

  test('is never a name that is known itself', () => {
    expect(nearMiss('JWT_SECRET', ['JWT_SECRETS', 'JWT_SECRET'])).toBeNull()
  })
})

test('two neighbours that changed places are one edit', () => {
  expect(editDistance('PROT', 'PORT')).toBe(1)
  expect(editDistance('', 'abc')).toBe(3)
  expect(editDistance('kitten', 'sitting')).toBe(3)
})
