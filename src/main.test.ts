import { readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { run, temporaryDirectory } from '../test/command-line.ts'
import { freshDatabase, type FreshDatabase } from '../test/database.ts'
import { apiKeyHash } from './core/api-key.ts'
import { startEmbedded } from './db/embedded.ts'
import { userTokens } from './http/user-token.ts'
import { findApiKey } from './store/api-key.ts'

const SECRET = 'CANARY-secret-of-at-least-32-bytes'

suite('the command line', () => {
  test('explains itself, and refuses what it does not know', async () => {
    const [help, unknown, version] = await Promise.all([run(['--help']), run(['sing']), run(['version'])])

    for (const word of ['serve', 'migrate', 'key', 'token', 'send', 'doctor', 'config']) {
      expect(help.stdout).toMatch(new RegExp(`^ {2}${word}\\b`, 'm'))
    }
    expect(unknown.exitCode).toBe(1)
    expect(unknown.stderr).toContain("unknown command 'sing'")
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  test('runs by its own name, from anywhere, through a link, with the Node it was installed with', async () => {
    const directory = await temporaryDirectory()
    const link = path.join(directory, 'ec')
    await symlink(path.resolve('bin/eventcenter'), link)

    const { stdout, stderr } = await run(['version'], {}, ['/bin/sh', '-c', `cd / && exec ${link} "$@"`, 'sh'])

    expect(stderr).toBe('')
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

suite('eventcenter config', () => {
  test('shows what is in force and where it comes from, and no secret', async () => {
    const directory = await temporaryDirectory()
    const file = path.join(directory, 'secret')
    await writeFile(file, `${SECRET}\n`)

    const { stdout, exitCode } = await run(['config'], {
      DATABASE_URL: 'postgres://ann:CANARY@db:5432/main',
      JWT_SECRET_FILE: file,
      SMTP_URL: 'smtp://ann:CANARY@mail.test',
      MAIL_FROM: 'Us <us@mail.test>',
      API_KEYS: `sk_CANARY${'x'.repeat(40)}`,
      ALLOWED_ORIGINS: 'https://a.test,https://b.test',
    })

    expect(exitCode).toBe(0)
    expect(stdout).not.toContain('CANARY')
    const rows = new Map(stdout.split('\n').map((line) => [line.split(/ +/)[0], line]))
    expect(rows.get('DATABASE_URL')).toMatch(/ postgres:\/\/ann:\*\*\*@db:5432\/main +environment /)
    expect(rows.get('JWT_SECRET')).toMatch(/ \[set\] +file /)
    expect(rows.get('SMTP_URL')).toMatch(/ \[set\] +environment /)
    expect(rows.get('API_KEYS')).toMatch(/ \[set\] +environment /)
    expect(rows.get('ALLOWED_ORIGINS')).toMatch(/ https:\/\/a\.test,https:\/\/b\.test +environment /)
    expect(rows.get('PORT')).toMatch(/ 3000 +default /)
  })

  test('tells generated secrets from missing ones', async () => {
    const DATA_DIR = await temporaryDirectory()
    const secret = async () => /^JWT_SECRET.*$/m.exec((await run(['config'], { DATA_DIR })).stdout)?.[0]
    expect(await secret()).toMatch(/ - +default /)

    await run(['token', 'create', '--user', 'ann'], { DATA_DIR })

    expect(await secret()).toMatch(/ \[set\] +generated /)
  })

  test('lists all faults, without values and without a stack', async () => {
    const { exitCode, stdout, stderr } = await run(['config'], { PORT: 'CANARY', HOST: ' ', DATABSE_URL: 'CANARY' })

    expect(exitCode).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toBe(
      [
        'The settings have 3 faults:',
        '  PORT: expected a whole number from 0 to 65535',
        '  HOST: expected a host name or an IP address',
        '  DATABSE_URL: unknown; did you mean DATABASE_URL?',
        '',
      ].join('\n'),
    )
  })

  test('makes the page docs/configuration.md', async () => {
    const { stdout } = await run(['config', '--markdown'])

    // After a change of the settings: node src/main.ts config --markdown > docs/configuration.md
    expect(await readFile('docs/configuration.md', 'utf8')).toBe(stdout)
  })
})

suite('eventcenter token create', () => {
  test('makes a token that the server takes', async () => {
    const args = ['token', 'create', '--user', 'ann', '--company', 'acme', '--role', 'client', '--ttl', '15m']

    const { stdout, stderr } = await run(args, {
      DATA_DIR: await temporaryDirectory(),
      JWT_SECRET: SECRET,
      JWT_ISSUER: 'us',
    })

    expect(stderr).toBe('')
    const user = await userTokens({ secret: SECRET }, { issuer: 'us' }).verify(stdout.trim())
    expect(user).toMatchObject({ userId: 'ann', companyId: 'acme', roles: ['client'] })
    expect(user.expiresAt.getTime() - Date.now()).toBeGreaterThan(14 * 60_000)
    expect(user.expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(15 * 60_000)
  })

  test.each([
    [['--user', 'ann', '--ttl', 'long'], {}, 'Expected a duration such as 90s'],
    [['--user', ''], {}, 'must have an id in `sub`'],
    [['--user', 'ann', '--company', ''], {}, "option '--company <id>' argument '' is invalid"],
    [['--user', 'ann'], { JWKS_URL: 'https://a.test/keys' }, 'With JWKS_URL the issuer makes the tokens'],
  ])('refuses %j', async (args, environment, message) => {
    const DATA_DIR = await temporaryDirectory()

    const { exitCode, stdout, stderr } = await run(['token', 'create', ...args], { DATA_DIR, ...environment })

    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('    at ')
  })
})

suite('eventcenter key', () => {
  let database: FreshDatabase
  let environment: Record<string, string>
  beforeAll(async () => {
    database = await freshDatabase()
    environment = { DATABASE_URL: database.url, JWT_SECRET: SECRET }
  })
  afterAll(() => database.close())

  test('makes a key that works until it is revoked', async () => {
    const args = ['--name', 'shop', '--scope', 'events:write,events:read', '--company', 'acme', '--ttl', '90d']
    const created = await run(['key', 'create', ...args], environment)
    const key = created.stdout.trim()
    expect(created.stderr).toContain('It is shown only now')
    const found = await findApiKey(database.db, apiKeyHash(key))
    expect(found).toMatchObject({ company_id: 'acme', scopes: ['events:write', 'events:read'] })

    const listed = await run(['key', 'list'], environment)
    const revoked = await run(['key', 'revoke', found!.id], environment)
    const again = await run(['key', 'revoke', found!.id], environment)

    expect(listed.stdout).toMatch(new RegExp(`^${found!.id} +valid .* acme +shop +events:write events:read$`, 'm'))
    expect(listed.stdout).not.toContain(key.slice(-40))
    expect(revoked.exitCode).toBe(0)
    expect(await findApiKey(database.db, apiKeyHash(key))).toBeNull()
    expect(again).toMatchObject({ exitCode: 1, stderr: 'There is no such key, or it was revoked before\n' })
    expect((await run(['key', 'list'], environment)).stdout).toMatch(/ revoked /)
  })

  test('refuses a scope that does not exist', async () => {
    const { exitCode, stderr } = await run(['key', 'create', '--name', 'x', '--scope', 'events:wriet'], environment)

    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/^There is no scope "events:wriet"\. Scopes: all, events:write, /)
  })

  test.each([
    [['--name', 'x', '--scope', ''], 'Name at least one scope: all, events:write, '],
    [['--name', '', '--scope', 'all'], "option '--name <name>' argument '' is invalid"],
    [['--name', 'x', '--scope', 'all', '--company', ''], "option '--company <id>' argument '' is invalid"],
  ])('makes no key of what a script left empty: %j', async (args, message) => {
    const { exitCode, stdout, stderr } = await run(['key', 'create', ...args], environment)

    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
    expect(stderr).toContain(message)
  })

  test('says what to do with a database that has no tables', async () => {
    const empty = database.url.replace(/\/[^/?]+\?/, '/postgres?')

    const { exitCode, stderr } = await run(['key', 'list'], { ...environment, DATABASE_URL: empty })

    expect(exitCode).toBe(1)
    expect(stderr).toBe('The database lacks tables of this version: run `eventcenter migrate` first\n')
  })

  test('works on the embedded database, whether that runs or not', async () => {
    const DATA_DIR = await temporaryDirectory()
    const stopped = await run(['key', 'create', '--name', 'one', '--scope', 'all'], { DATA_DIR })
    expect(stopped.stdout).toMatch(/^sk_/)

    const embedded = await startEmbedded(DATA_DIR)
    const running = await run(['key', 'create', '--name', 'two', '--scope', 'all'], { DATA_DIR })
    const pid = embedded.pid()
    await embedded.stop()

    expect(running.stdout).toMatch(/^sk_/)
    expect(pid).toBe(embedded.pid())
    const { stdout } = await run(['key', 'list'], { DATA_DIR })
    expect(stdout).toContain(' one ')
    expect(stdout).toContain(' two ')
  })
})

suite('eventcenter migrate', () => {
  test('makes the tables, and has nothing to do the second time', async () => {
    const DATA_DIR = await temporaryDirectory()

    const first = await run(['migrate'], { DATA_DIR })
    const second = await run(['migrate'], { DATA_DIR })

    expect(first.stdout).toMatch(/^applied 0001_foundation\.sql\n(applied .*\n)*The database is up to date now\.\n$/)
    expect(second.stdout).toBe('The database is up to date.\n')
  })
})

suite('eventcenter doctor', () => {
  let database: FreshDatabase
  beforeAll(async () => {
    database = await freshDatabase()
  })
  afterAll(() => database.close())

  test('finds nothing wrong with what is right', async () => {
    const { exitCode, stdout } = await run(['doctor'], { DATABASE_URL: database.url, JWT_SECRET: SECRET })

    expect(stdout).not.toContain('PROBLEM')
    for (const name of ['settings', 'database', 'clock', 'tables', 'queue', 'dead letters', 'email']) {
      expect(stdout).toMatch(new RegExp(`^ok +${name} `, 'm'))
    }
    expect(exitCode).toBe(0)
  })

  test('fails for what waits, what is dead, and mail that cannot be sent, and says what to do', async () => {
    await database.db.query(
      `insert into ready (channel, lane, priority, run_at, id) values (channel_number('email'), 0, 1, now() - interval '1 hour', 1)`,
    )
    await database.db.query(`insert into dead (delivery_id, kind, reason) values (1, 'failed', 'ann@CANARY.test')`)

    const { exitCode, stdout } = await run(['doctor'], {
      DATABASE_URL: database.url,
      JWT_SECRET: SECRET,
      SMTP_URL: 'smtp://ann:CANARY@127.0.0.1:9',
      MAIL_FROM: 'us@mail.test',
    })

    expect(exitCode).toBe(1)
    expect(stdout).toMatch(
      /^PROBLEM +queue +the oldest due delivery of the channel email, lane p2p, waits for 3600 s: see that a worker has/m,
    )
    expect(stdout).toMatch(/^PROBLEM +dead letters +1 failed, 0 uncertain: see GET/m)
    expect(stdout).toMatch(/^PROBLEM +email +.*Check SMTP_URL, MAIL_FROM/m)
    expect(stdout).not.toContain('CANARY')
  })

  test('fails for a database that is away', async () => {
    const { exitCode, stdout } = await run(['doctor'], {
      DATABASE_URL: 'postgres://ann:CANARY@127.0.0.1:9/main',
      JWT_SECRET: SECRET,
    })

    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/^PROBLEM +database +The database is away\. Check DATABASE_URL/m)
    expect(stdout).not.toContain('CANARY')
  })

  test('fails for tables of another version', async () => {
    const empty = database.url.replace(/\/[^/?]+\?/, '/postgres?')

    const { exitCode, stdout } = await run(['doctor'], { DATABASE_URL: empty, JWT_SECRET: SECRET })

    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/^PROBLEM +tables +0001_foundation\.sql.* not applied: run `eventcenter migrate`$/m)
  })

  test('fails for settings that are wrong, and names them all', async () => {
    const { exitCode, stdout } = await run(['doctor'], { PORT: 'x', LEASE_SECONDS: 'x' })

    expect(exitCode).toBe(1)
    expect(stdout.match(/^PROBLEM +settings /gm)).toHaveLength(2)
  })
})
