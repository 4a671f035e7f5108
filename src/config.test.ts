import { createECDH } from 'node:crypto'
import path from 'node:path'
import { expect, suite, test } from 'vitest'
import type { ChannelDefinition } from './channels/channel.ts'
import { ConfigError, readConfig, settingsTable, terminalLanguage, type Config, type Environment } from './config.ts'

const SECRET = 'CANARY-secret-of-at-least-32-bytes'

suite('the settings of an empty environment', () => {
  test('run everything on this machine over an embedded database', () => {
    const config = read({})

    expect(config).toMatchObject({
      PORT: 3000,
      HOST: '127.0.0.1',
      PUBLIC_URL: undefined,
      ROLES: ['api', 'worker', 'gateway', 'scheduler'],
      DATABASE_URL: 'embedded:./data',
      DATA_DIR: path.resolve('data'),
      API_KEYS: [],
      JWT_SECRET: undefined,
      ALLOWED_ORIGINS: [],
      TRUST_PROXY: undefined,
      DEMO: true,
      DEFAULT_LOCALE: 'en',
      LOG_LEVEL: 'info',
      LEASE_SECONDS: 20,
      WORKER_CONCURRENCY: 50,
      RETRY_SECONDS: undefined,
      SHUTDOWN_SECONDS: 25,
    })
    expect(config.CATALOG).toEqual([path.resolve('catalog')])
    expect(Object.values(config.sources).every((source) => source === 'default')).toBe(true)
  })

  test('are those of an environment whose variables are all empty', () => {
    const empty = Object.fromEntries(
      Object.keys(settingsTable()).flatMap((name) => [
        [name, ''],
        [`${name}_FILE`, ''],
      ]),
    )

    expect(read(empty)).toEqual(read({}))
  })

  test('each say what they are for', () => {
    for (const [name, { describe }] of Object.entries(settingsTable())) expect(describe, name).toMatch(/^[A-Z].+\.$/)
  })
})

suite('faults', () => {
  test('are all reported at once', () => {
    const error = errorOf({
      PORT: 'many',
      HOST: 'not a host',
      DATABASE_URL: 'mysql://root:CANARY@db/x',
      API_KEYS: 'CANARY',
      JWT_SECRET: 'CANARY',
      DATABSE_URL: 'postgres://u:CANARY@db/x',
      REDIS_URL: 'redis://:CANARY@cache',
      SMTP_URL_FILE: '/run/secrets/none',
    })

    expect(error.faults.map(({ name }) => name).sort()).toEqual(
      ['API_KEYS', 'DATABASE_URL', 'DATABSE_URL', 'HOST', 'JWT_SECRET', 'PORT', 'REDIS_URL', 'SMTP_URL'].sort(),
    )
    expect(error.message).toMatch(/^The settings have 8 faults:\n {2}PORT: expected a whole number from 0 to 65535\n/)
    expect(error.message).not.toContain('CANARY')
  })

  test.each([
    ['DATABSE_URL', 'DATABASE_URL'],
    ['SMTP_URI', 'SMTP_URL'],
    ['SMTP_URI_FILE', 'SMTP_URL'],
    ['JWT_SECERT', 'JWT_SECRET'],
    ['ALOWED_ORIGINS', 'ALLOWED_ORIGINS'],
    ['REDIS_URI', 'REDIS_URL'],
  ])('name %s, which was surely meant to be %s', (name, meant) => {
    expect(faultsOf({ [name]: 'x' })).toEqual([`${name}: unknown; did you mean ${meant}?`])
  })

  test('are none for the variables of other programs', () => {
    const others = ['PATH', 'HOME', 'LANG', 'TERM', 'USER', 'SHELL', 'PWD', 'TZ', 'NODE_ENV', 'npm_config_loglevel']
    const more = ['HOSTNAME', 'KUBERNETES_PORT', 'REDIS_PORT', 'POSTGRES_URL', 'DOCKER_HOST', 'LS_COLORS', 'SSH_TTY']

    expect(() => read(Object.fromEntries([...others, ...more].map((name) => [name, 'x'])))).not.toThrow()
  })

  test.each([
    'KAFKA_BROKERS',
    'REDIS_URL',
    'AUTH_URL',
    'TELEGRAM_BOT_TOKEN',
    'TELEGRAM_WEBHOOK_SECRET',
    'REDIS_URL_FILE',
  ])('say that %s is not supported yet', (name) => {
    expect(faultsOf({ [name]: 'x' })).toEqual([`${name}: not supported yet by this version`])
  })
})

suite('a setting from a file', () => {
  const files: Record<string, string> = { '/run/jwt': `${SECRET}\n`, '/run/empty': '\n', '/run/short': 'CANARY\r\n' }
  const readFile = (file: string): string => {
    if (files[file] !== undefined) return files[file]
    throw Object.assign(new Error(`ENOENT: CANARY ${file}`), { code: 'ENOENT' })
  }

  test('is the text without the line break at its end', () => {
    const config = readConfig({ JWT_SECRET_FILE: '/run/jwt' }, readFile)

    expect(config.JWT_SECRET).toBe(SECRET)
    expect(config.sources).toMatchObject({ JWT_SECRET: 'file', PORT: 'default' })
  })

  test.each([
    [
      'is there twice',
      { JWT_SECRET: SECRET, JWT_SECRET_FILE: '/run/jwt' },
      'set either JWT_SECRET or JWT_SECRET_FILE, not both',
    ],
    ['cannot be read', { JWT_SECRET_FILE: '/run/none' }, 'the file named by JWT_SECRET_FILE cannot be read (ENOENT)'],
    [
      'is malformed',
      { JWT_SECRET_FILE: '/run/short' },
      'expected 32 bytes or more, for example from `openssl rand -base64 48`',
    ],
  ])('is a fault when it %s', (_what, environment, message) => {
    expect(faultsOf(environment, readFile)).toEqual([`JWT_SECRET: ${message}`])
  })

  test('counts as not set when the file is empty', () => {
    expect(readConfig({ JWT_SECRET_FILE: '/run/empty' }, readFile).JWT_SECRET).toBeUndefined()
  })
})

suite('settings together', () => {
  const server = { DATABASE_URL: 'postgres://ann:CANARY@db:5432/main' }

  test('are refused with a database server and nothing that all processes verify tokens by', () => {
    expect(faultsOf(server)).toEqual(['JWT_SECRET: set JWT_SECRET or JWKS_URL: all processes on one database share it'])
    expect(read({ ...server, JWT_SECRET: SECRET }).DEMO).toBe(false)
    expect(read({ ...server, JWKS_URL: 'https://a.test/keys' }).JWKS_URL).toBe('https://a.test/keys')
  })

  test.each(['postgres://a:b@c:5432/d', 'postgresql://c/d?sslmode=require', 'postgres://a@/d?host=%2Frun'])(
    'may name a database server as %s',
    (DATABASE_URL) => {
      expect(read({ DATABASE_URL, JWT_SECRET: SECRET }).DATABASE_URL).toBe(DATABASE_URL)
    },
  )

  test('are refused with both a secret and an issuer', () => {
    expect(faultsOf({ JWT_SECRET: SECRET, JWKS_URL: 'https://a.test/keys' })).toEqual([
      'JWKS_URL: set either JWT_SECRET or JWKS_URL, not both',
    ])
  })

  test('show the demo page to this machine only', () => {
    expect(read({ HOST: '0.0.0.0' }).DEMO).toBe(false)
    expect(read({ HOST: 'localhost' }).DEMO).toBe(true)
    expect(read({ JWKS_URL: 'https://a.test/keys' }).DEMO).toBe(false)
    expect(faultsOf({ HOST: '0.0.0.0', DEMO: 'true' })[0]).toMatch(/^DEMO: the demo page lets everybody in/)
    expect(faultsOf({ HOST: '::', DEMO: 'true' })[0]).toMatch(/^DEMO: /)
    expect(faultsOf({ JWKS_URL: 'https://a.test/keys', DEMO: 'true' })[0]).toMatch(/^DEMO: .* needs JWT_SECRET/)
  })

  test('keep an embedded database in the data directory', () => {
    expect(read({ DATABASE_URL: 'embedded:/srv/x' }).DATA_DIR).toBe('/srv/x')
    expect(read({ DATA_DIR: '/srv/x' })).toMatchObject({ DATABASE_URL: 'embedded:/srv/x', DATA_DIR: '/srv/x' })
    expect(read({ DATA_DIR: '/srv/x/', DATABASE_URL: 'embedded:/srv/x' }).DATA_DIR).toBe('/srv/x')
    expect(faultsOf({ DATA_DIR: '/srv/y', DATABASE_URL: 'embedded:/srv/x' })[0]).toMatch(/^DATA_DIR: /)
  })

  test('have both keys of browser push, and keys that belong together', () => {
    const ecdh = createECDH('prime256v1')
    const publicKey = ecdh.generateKeys('base64url')
    const privateKey = Buffer.from(ecdh.getPrivateKey('hex').padStart(64, '0'), 'hex').toString('base64url')
    const other = createECDH('prime256v1').generateKeys('base64url')

    expect(read({ VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: privateKey }).VAPID_PUBLIC_KEY).toBe(publicKey)
    expect(faultsOf({ VAPID_PUBLIC_KEY: publicKey })[0]).toMatch(/^VAPID_PRIVATE_KEY: .* set together$/)
    expect(faultsOf({ VAPID_PRIVATE_KEY: privateKey })[0]).toMatch(/^VAPID_PUBLIC_KEY: .* set together$/)
    expect(faultsOf({ VAPID_PUBLIC_KEY: other, VAPID_PRIVATE_KEY: privateKey })).toEqual([
      'VAPID_PUBLIC_KEY: is not the public key of VAPID_PRIVATE_KEY',
    ])
    expect(faultsOf({ VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: 'A'.repeat(43) })[0]).toMatch(
      /^VAPID_PRIVATE_KEY/,
    )
  })
})

suite("a channel's settings", () => {
  const fax: ChannelDefinition = {
    name: 'fax',
    settings: {
      FAX_LINES: { describe: 'Lines.', default: '2', parse: (text) => Number(text) },
      FAX_PIN: {
        describe: 'Pin.',
        secret: true,
        parse: (text) => {
          if (text === undefined) throw new Error('must be set')
          return text
        },
      },
    },
    open: () => {
      throw new Error('is not opened to read settings')
    },
  }

  test('are read like the others, and belong to the channel alone', () => {
    const config = readConfig({ FAX_PIN: 'CANARY' }, () => '', [fax])

    expect(config.channels).toEqual({ fax: { FAX_LINES: 2, FAX_PIN: 'CANARY' } })
    expect(config).not.toHaveProperty('FAX_PIN')
    expect(JSON.stringify(config.texts)).not.toContain('CANARY')
  })

  test('have faults and near misses like the others', () => {
    const error = errorOf({ FAX_LINE: '3' }, () => '', [fax])

    expect(error.faults).toEqual([
      { name: 'FAX_PIN', message: 'must be set' },
      { name: 'FAX_LINE', message: 'unknown; did you mean FAX_LINES?' },
    ])
  })

  test('may not have the name of another setting', () => {
    const other: ChannelDefinition = { ...fax, name: 'other', settings: { PORT: { describe: 'Port.', parse: Number } } }

    expect(() => settingsTable([fax, other])).toThrow('Two settings have the name PORT')
  })
})

test('the terminal speaks Russian where its language is', () => {
  expect(terminalLanguage({ LANG: 'ru_RU.UTF-8' })).toBe('ru')
  expect(terminalLanguage({ LANG: 'ru_RU.UTF-8', LC_ALL: 'C.UTF-8' })).toBe('en')
  expect(terminalLanguage({})).toBe('en')
})

const read = (environment: Environment): Config => readConfig(environment, () => expect.unreachable())

function errorOf(environment: Environment, ...rest: [((file: string) => string)?, ChannelDefinition[]?]): ConfigError {
  const [readFile = noFile, channels] = rest
  try {
    readConfig(environment, readFile, channels)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('There is no fault')
}

const faultsOf = (...given: Parameters<typeof errorOf>): string[] =>
  errorOf(...given).faults.map(({ name, message }) => `${name}: ${message}`)

function noFile(): never {
  throw new Error('no such file')
}
