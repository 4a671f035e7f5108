import { createECDH, randomBytes, randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import type { Config } from './config.ts'
import { apiKeyId, newApiKey } from './core/api-key.ts'
import { embeddedDirectory, vapidPublicKeyOf } from './settings.ts'

/** What an EventCenter without configuration keeps in its data directory. */
export type Secrets = {
  jwtSecret: string
  vapidPrivateKey: string
  vapidPublicKey: string
  /** The first API key, while its file is there. */
  apiKey?: string
  /** They were made just now. */
  isFirstStart: boolean
}

/** The secrets that this process works with; undefined is what nobody set. */
export type EffectiveSecrets = Partial<Secrets> & { isFirstStart: boolean }

type SecretSettings = Pick<
  Config,
  'DATABASE_URL' | 'DATA_DIR' | 'JWT_SECRET' | 'JWKS_URL' | 'VAPID_PRIVATE_KEY' | 'VAPID_PUBLIC_KEY'
>

const FILE = 'secrets.json'
const schema = z.object({
  version: z.literal(1),
  jwtSecret: z.string().min(43),
  vapidPrivateKey: z.string().length(43),
  vapidPublicKey: z.string().length(87),
})

/** The file with the first API key. */
export const apiKeyFile = (directory: string): string => path.join(directory, 'api-key')

/**
 * The secrets to work with: those of the environment win over those of the data directory. With a real database nothing
 * is generated, as other processes could not know it.
 */
export async function secretsOf(config: SecretSettings): Promise<EffectiveSecrets> {
  const { JWT_SECRET, JWKS_URL, VAPID_PRIVATE_KEY, VAPID_PUBLIC_KEY } = config
  const isEmbedded = embeddedDirectory(config.DATABASE_URL) !== null
  const own: EffectiveSecrets = isEmbedded ? await loadSecrets(config.DATA_DIR) : { isFirstStart: false }
  if (JWKS_URL !== undefined) delete own.jwtSecret
  if (JWT_SECRET !== undefined) own.jwtSecret = JWT_SECRET
  if (VAPID_PRIVATE_KEY !== undefined) own.vapidPrivateKey = VAPID_PRIVATE_KEY
  if (VAPID_PUBLIC_KEY !== undefined) own.vapidPublicKey = VAPID_PUBLIC_KEY
  return own
}

/** What user tokens are verified by: the keys of an issuer, or a secret. */
export function tokenKeys(
  { JWKS_URL }: Pick<Config, 'JWKS_URL'>,
  { jwtSecret }: Pick<EffectiveSecrets, 'jwtSecret'>,
): { secret: string } | { jwksUrl: string } {
  if (JWKS_URL !== undefined) return { jwksUrl: JWKS_URL }
  if (jwtSecret !== undefined) return { secret: jwtSecret }
  throw new Error('Neither JWKS_URL nor JWT_SECRET is set') // `readConfig` has refused that
}

/**
 * The secrets of a data directory, made on the first start. Safe when several processes start at once: each file appears
 * complete or not at all, and the first one stays. A damaged file is never replaced: what it held is still in use.
 */
export async function loadSecrets(directory: string): Promise<Secrets> {
  const isFirstStart = !(await exists(path.join(directory, FILE)))
  if (isFirstStart) {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    // First the key: once the secrets are there, a missing key means that somebody took it away on purpose.
    await createFile(apiKeyFile(directory), `${newApiKey().key}\n`)
    await createFile(path.join(directory, FILE), `${JSON.stringify(generate(), null, 2)}\n`)
  }
  const { jwtSecret, vapidPrivateKey, vapidPublicKey } = await readSecrets(path.join(directory, FILE))
  const apiKey = await readApiKey(directory)
  return { jwtSecret, vapidPrivateKey, vapidPublicKey, isFirstStart, ...(apiKey !== null && { apiKey }) }
}

/** The first API key of a data directory, or null when its file is not there. */
export async function readApiKey(directory: string): Promise<string | null> {
  const file = apiKeyFile(directory)
  const text = await readPrivate(file)
  if (text === null) return null
  const key = text.trim()
  if (apiKeyId(key) === null) throw new Error(`${file} holds no valid API key. ${ADVICE}`)
  return key
}

async function readSecrets(file: string): Promise<z.infer<typeof schema>> {
  const text = await readPrivate(file)
  let secrets
  try {
    secrets = schema.parse(JSON.parse(text ?? ''))
    if (vapidPublicKeyOf(secrets.vapidPrivateKey) !== secrets.vapidPublicKey) throw new Error('keys do not match')
  } catch {
    // Without the cause: parsers quote what they read.
    throw new Error(`${file} is damaged. ${ADVICE} With new secrets, tokens and push subscriptions end.`)
  }
  return secrets
}

const ADVICE = 'Restore it from a backup, or move it away to have a new one made.'

/** The text of a file, or null where there is none. Refuses a file that everybody may read. */
async function readPrivate(file: string): Promise<string | null> {
  if (!(await exists(file))) return null
  const { mode } = await stat(file)
  if (mode & 0o007) throw new Error(`${file} can be read by every user of this machine: run chmod 600 on it.`)
  return readFile(file, 'utf8')
}

function generate(): z.infer<typeof schema> {
  const ecdh = createECDH('prime256v1')
  ecdh.generateKeys()
  // Without its leading zeros the private key may be shorter than 32 bytes.
  const vapidPrivateKey = Buffer.from(ecdh.getPrivateKey('hex').padStart(64, '0'), 'hex').toString('base64url')
  return {
    version: 1,
    jwtSecret: randomBytes(48).toString('base64url'),
    vapidPrivateKey,
    vapidPublicKey: vapidPublicKeyOf(vapidPrivateKey),
  }
}

/** Creates a file with its whole content on disk, or leaves the one that is there already. */
async function createFile(file: string, content: string): Promise<void> {
  const temporary = `${file}.${randomUUID()}`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    await handle.writeFile(content)
    await handle.sync()
    await handle.close()
    await link(temporary, file).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error
    })
    await syncDirectory(path.dirname(file))
  } finally {
    await rm(temporary, { force: true })
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)
