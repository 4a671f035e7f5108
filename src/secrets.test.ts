import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, suite, test } from 'vitest'
import { apiKeyId } from './core/api-key.ts'
import { loadSecrets, readApiKey, secretsOf } from './secrets.ts'
import { vapidPublicKeyOf } from './settings.ts'

suite('the secrets of a data directory', () => {
  test('are made on the first start, for their owner alone', async () => {
    const directory = path.join(await emptyDirectory(), 'data')

    const secrets = await loadSecrets(directory)

    expect(secrets.isFirstStart).toBe(true)
    expect(Buffer.from(secrets.jwtSecret, 'base64url')).toHaveLength(48)
    expect(vapidPublicKeyOf(secrets.vapidPrivateKey)).toBe(secrets.vapidPublicKey)
    expect(apiKeyId(secrets.apiKey!)).not.toBeNull()
    expect(await readFile(path.join(directory, 'api-key'), 'utf8')).toBe(`${secrets.apiKey}\n`)
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    expect((await readdir(directory)).sort()).toEqual(['api-key', 'secrets.json'])
    for (const file of ['api-key', 'secrets.json']) {
      expect((await stat(path.join(directory, file))).mode & 0o777).toBe(0o600)
    }
  })

  test('are the same on every later start', async () => {
    const directory = await emptyDirectory()
    const first = await loadSecrets(directory)

    const second = await loadSecrets(directory)

    expect(second).toEqual({ ...first, isFirstStart: false })
  })

  test('differ between directories', async () => {
    const one = await loadSecrets(await emptyDirectory())
    const other = await loadSecrets(await emptyDirectory())

    expect(other.jwtSecret).not.toBe(one.jwtSecret)
    expect(other.vapidPrivateKey).not.toBe(one.vapidPrivateKey)
    expect(other.apiKey).not.toBe(one.apiKey)
  })

  test('are the same for processes that start at the same moment', async () => {
    const directory = path.join(await emptyDirectory(), 'data')

    const results = await Promise.all(Array.from({ length: 6 }, () => loadInProcess(directory)))

    expect(new Set(results).size).toBe(1)
    expect((await readdir(directory)).sort()).toEqual(['api-key', 'secrets.json'])
  })

  test('are completed when the first start was interrupted between its two files', async () => {
    const directory = await emptyDirectory()
    const { apiKey } = await loadSecrets(directory)
    await rm(path.join(directory, 'secrets.json'))

    const secrets = await loadSecrets(directory)

    expect(secrets).toMatchObject({ isFirstStart: true, apiKey })
  })

  test('do without the key that somebody took away on purpose', async () => {
    const directory = await emptyDirectory()
    await loadSecrets(directory)
    await rm(path.join(directory, 'api-key'))

    const secrets = await loadSecrets(directory)

    expect(secrets).not.toHaveProperty('apiKey')
    expect(await readApiKey(directory)).toBeNull()
  })

  test.each([
    ['cut off', (text: string) => text.slice(0, 60)],
    ['emptied', () => ''],
    ['without a member', (text: string) => text.replace('jwtSecret', 'other')],
    ['with a short secret', (text: string) => text.replace(/("jwtSecret": ")[^"]+/, '$1short')],
    ['with keys that do not belong together', (text: string) => text.replace(/("vapidPublicKey": "B)./, '$1_')],
    ['of a later version', (text: string) => text.replace('"version": 1', '"version": 2')],
  ])('stop the start when their file is %s, and stay as they are', async (_how, damage) => {
    const directory = await emptyDirectory()
    const { jwtSecret } = await loadSecrets(directory)
    const file = path.join(directory, 'secrets.json')
    const damaged = damage(await readFile(file, 'utf8'))
    await writeFile(file, damaged)

    const error: Error = await loadSecrets(directory).then(
      () => expect.unreachable(),
      (error: Error) => error,
    )

    expect(error.message).toMatch(/secrets\.json is damaged\. Restore it from a backup/)
    expect(String(error.stack)).not.toContain(jwtSecret.slice(0, 8))
    expect(await readFile(file, 'utf8')).toBe(damaged)
  })

  test('stop the start when the key is not one', async () => {
    const directory = await emptyDirectory()
    await loadSecrets(directory)
    await writeFile(path.join(directory, 'api-key'), 'sk_something\n')

    await expect(loadSecrets(directory)).rejects.toThrow('api-key holds no valid API key')
  })

  test('stop the start when every user of the machine can read them', async () => {
    const directory = await emptyDirectory()
    await loadSecrets(directory)
    await chmod(path.join(directory, 'secrets.json'), 0o644)

    await expect(loadSecrets(directory)).rejects.toThrow('run chmod 600 on it')
  })
})

suite('the secrets to work with', () => {
  const real = { DATABASE_URL: 'postgres://db/main', DATA_DIR: '/nowhere/at/all' }

  test('are those of the environment before those of the data directory', async () => {
    const DATA_DIR = await emptyDirectory()
    const own = await loadSecrets(DATA_DIR)

    const secrets = await secretsOf(config({ DATABASE_URL: `embedded:${DATA_DIR}`, DATA_DIR, JWT_SECRET: 'mine' }))

    expect(secrets).toEqual({ ...own, jwtSecret: 'mine', isFirstStart: false })
  })

  test('are not generated with a real database', async () => {
    const secrets = await secretsOf(config({ ...real, JWT_SECRET: 'mine' }))

    expect(secrets).toEqual({ isFirstStart: false, jwtSecret: 'mine' })
  })

  test('hold no secret of ours when an issuer signs the tokens', async () => {
    const DATA_DIR = await emptyDirectory()

    const secrets = await secretsOf(config({ DATABASE_URL: `embedded:${DATA_DIR}`, DATA_DIR, JWKS_URL: 'https://a/' }))

    expect(secrets).not.toHaveProperty('jwtSecret')
  })
})

type SomeConfig = Parameters<typeof secretsOf>[0]
const config = (values: Partial<SomeConfig>): SomeConfig => values as SomeConfig

async function emptyDirectory(): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-secrets-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  return directory
}

async function loadInProcess(directory: string): Promise<string> {
  const module = fileURLToPath(new URL('secrets.ts', import.meta.url))
  const script = `const { loadSecrets } = await import(${JSON.stringify(module)})
    const { isFirstStart, ...secrets } = await loadSecrets(${JSON.stringify(directory)})
    process.stdout.write(JSON.stringify(secrets))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  await once(child, 'close')
  return output
}
