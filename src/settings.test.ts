import { expect, suite, test } from 'vitest'
import { ConfigError, readConfig, type Environment } from './config.ts'
import { mask } from './core/mask.ts'
import { coreSettings } from './settings.ts'

const KEY = `sk_${'k'.repeat(40)}`

suite('a setting', () => {
  const cases: [name: keyof typeof coreSettings, good: [string, unknown][], bad: string[]][] = [
    [
      'PORT',
      [
        ['0', 0],
        ['65535', 65_535],
      ],
      ['-1', '65536', '3e3', '3000 ', '0x10', 'CANARY'],
    ],
    [
      'HOST',
      [
        ['::1', '::1'],
        ['db.local', 'db.local'],
      ],
      ['a b', 'http://x', '1.2.3', '-x', 'a..b'],
    ],
    [
      'PUBLIC_URL',
      [
        ['https://a.test/', 'https://a.test'],
        ['https://a.test/x/', 'https://a.test/x'],
      ],
      ['a.test', 'ftp://a', 'https://u:CANARY@a', 'https://a/?q', 'https://a/#x', 'javascript:x'],
    ],
    [
      'ROLES',
      [
        ['api', ['api']],
        ['api, worker,api', ['api', 'worker']],
      ],
      ['apis', 'api,', ',', 'bot'],
    ],
    [
      'DATABASE_URL',
      [['embedded:/var/lib/x', 'embedded:/var/lib/x']],
      ['embedded:', 'embedded', 'mysql://a/b', 'postgres://host', './data'],
    ],
    [
      'API_KEYS',
      [[`${KEY}, ${KEY}2`, [KEY, `${KEY}2`]]],
      ['short', `sk_${'k'.repeat(31)}`, 'x'.repeat(40), `${KEY},`, `${KEY}"`],
    ],
    [
      'JWT_SECRET',
      [
        ['x'.repeat(32), 'x'.repeat(32)],
        ['ж'.repeat(16), 'ж'.repeat(16)],
      ],
      ['x'.repeat(31), `-----BEGIN PUBLIC KEY-----${'x'.repeat(99)}`],
    ],
    [
      'JWKS_URL',
      [
        ['https://a.test/keys', 'https://a.test/keys'],
        ['http://localhost:1/k', 'http://localhost:1/k'],
      ],
      ['http://a.test/keys', 'https://u:CANARY@a.test/', 'keys', 'file:///etc/passwd', 'http://localhost.evil.test/'],
    ],
    ['JWT_ISSUER', [['us', 'us']], ['a\nb']],
    [
      'ALLOWED_ORIGINS',
      [['https://a.test,http://b.test:8080', ['https://a.test', 'http://b.test:8080']]],
      ['*', 'a.test', 'https://a.test/', 'https://*.a.test', 'null', 'https://A.test'],
    ],
    [
      'TRUST_PROXY',
      [
        ['1', 1],
        ['10.0.0.0/8,::1', ['10.0.0.0/8', '::1']],
      ],
      ['true', '0', '11', '10.0.0.0/33', '10.0.0.0/8/1', 'loopback', '::1/129', '10.0.0.0/'],
    ],
    [
      'DEMO',
      [
        ['true', true],
        ['false', false],
      ],
      ['yes', '1', 'TRUE'],
    ],
    [
      'DEFAULT_LOCALE',
      [
        ['ru', 'ru'],
        ['RU-ru', 'ru-RU'],
      ],
      ['russian language', 'en_US', '*'],
    ],
    ['CATALOG', [['/a,/b', ['/a', '/b']]], ['/a,,/b']],
    ['LOG_LEVEL', [['debug', 'debug']], ['verbose', 'INFO']],
    ['LEASE_SECONDS', [['5', 5]], ['4', '3601', '30s']],
    ['RETENTION_DAYS_EVENTS', [['0', 0]], ['-1', '36501', '90d']],
    [
      'RETRY_SECONDS',
      [['0,5, 5,60', [0, 5, 5, 60]]],
      ['-1', '1;2', '', ' ', '1,', '999999', Array(21).fill('1').join(',')].filter(Boolean),
    ],
    ['VAPID_EMAIL', [['a@b.test', 'a@b.test']], ['a', 'a@b, c@d', 'mailto:a@b', 'a@b\n']],
  ]

  test.each(cases.flatMap(([name, good]) => good.map(([text, value]) => [name, text, value] as const)))(
    '%s may be %j',
    (name, text, value) => {
      expect(readConfig({ [name]: text }, noFile)[name]).toEqual(value)
    },
  )

  test.each(cases.flatMap(([name, , bad]) => bad.map((text) => [name, text] as const)))(
    '%s may not be %j, and the fault does not repeat it',
    (name, text) => {
      const faults = faultsOf({ [name]: text })

      expect(faults).toHaveLength(1)
      expect(faults[0]).toMatch(new RegExp(`^${name}: expected `))
      expect(faults[0]).not.toContain('CANARY')
      expect(mask(faults[0] ?? '')).toBe(faults[0]) // advice that looks like a secret is not shown
      if (coreSettings[name] && 'secret' in coreSettings[name]) expect(faults[0]).not.toContain(text)
    },
  )
})

function faultsOf(environment: Environment): string[] {
  try {
    readConfig(environment, noFile)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map(({ name, message }) => `${name}: ${message}`)
    throw error
  }
  return []
}

function noFile(): never {
  throw new Error('no such file')
}
