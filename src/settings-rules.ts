import path from 'node:path'
import type { SettingValues } from './channels/channel.ts'
import { isLoopback } from './core/setting-parsers.ts'
import { embeddedDirectory, vapidPublicKeyOf, type coreSettings } from './settings.ts'

export type CoreValues = SettingValues<typeof coreSettings>

/** What is wrong with which variable. The message never holds a value. */
export type Fault = { name: string; message: string }

/** Where a value came from. */
export type Source = 'environment' | 'file' | 'default'

/** The faults of values that are right each for itself. Values that could not be parsed are absent. */
export function crossFaults(values: Partial<CoreValues>, sources: Readonly<Record<string, Source>>): Fault[] {
  const faults: Fault[] = []
  const { DATABASE_URL, DATA_DIR, HOST, DEMO, JWT_SECRET, JWKS_URL, VAPID_PRIVATE_KEY, VAPID_PUBLIC_KEY } = values
  const isGiven = (name: string): boolean => sources[name] !== undefined && sources[name] !== 'default'

  if (isGiven('JWT_SECRET') && isGiven('JWKS_URL')) {
    faults.push({ name: 'JWKS_URL', message: 'set either JWT_SECRET or JWKS_URL, not both' })
  }
  const hasServer = DATABASE_URL !== undefined && embeddedDirectory(DATABASE_URL) === null
  if (hasServer && !isGiven('JWT_SECRET') && !isGiven('JWKS_URL')) {
    faults.push({ name: 'JWT_SECRET', message: 'set JWT_SECRET or JWKS_URL: all processes on one database share it' })
  }
  if (DEMO === 'true' && HOST !== undefined && !isLoopback(HOST)) {
    faults.push({ name: 'DEMO', message: 'the demo page lets everybody in: with it HOST must be on this machine' })
  }
  if (DEMO === 'true' && JWKS_URL !== undefined && JWT_SECRET === undefined) {
    faults.push({ name: 'DEMO', message: 'the demo page signs its own tokens: it needs JWT_SECRET, not JWKS_URL' })
  }
  const folder = DATABASE_URL === undefined ? null : embeddedDirectory(DATABASE_URL)
  const areBothGiven = isGiven('DATABASE_URL') && isGiven('DATA_DIR')
  if (areBothGiven && folder !== null && DATA_DIR && path.resolve(folder) !== path.resolve(DATA_DIR)) {
    faults.push({ name: 'DATA_DIR', message: 'with an embedded database it is the folder of DATABASE_URL: set one' })
  }
  if (isGiven('VAPID_PRIVATE_KEY') !== isGiven('VAPID_PUBLIC_KEY')) {
    const name = isGiven('VAPID_PRIVATE_KEY') ? 'VAPID_PUBLIC_KEY' : 'VAPID_PRIVATE_KEY'
    faults.push({ name, message: 'VAPID_PRIVATE_KEY and VAPID_PUBLIC_KEY must be set together' })
  }
  if (VAPID_PRIVATE_KEY && VAPID_PUBLIC_KEY && vapidPublicKeyOf(VAPID_PRIVATE_KEY) !== VAPID_PUBLIC_KEY) {
    faults.push({ name: 'VAPID_PUBLIC_KEY', message: 'is not the public key of VAPID_PRIVATE_KEY' })
  }
  return faults
}
