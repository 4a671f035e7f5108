import { execFileSync } from 'node:child_process'
import { accessSync, constants, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** What the services are run from. */
export type Binaries = { postgres: string; redisServer: string }

const POSTGRES_ROOT = '/usr/lib/postgresql'
const OLDEST_POSTGRES = 15
/** Debian asks this script whether a package may start its service; 101 is no. */
const POLICY = '/usr/sbin/policy-rc.d'

/** Finds the programs of the Debian packages. Throws, naming the packages to install, when some are missing. */
export function findBinaries(): Binaries {
  const postgres = postgresDirectory()
  const redisServer = programInPath('redis-server')
  if (postgres !== undefined && redisServer !== undefined) return { postgres, redisServer }
  throw new MissingPackages([
    ...(postgres === undefined ? ['postgresql'] : []),
    ...(redisServer === undefined ? ['redis-server'] : []),
  ])
}

export class MissingPackages extends Error {
  readonly packages: readonly string[]

  constructor(packages: readonly string[]) {
    const list = packages.join(' ')
    super(
      `Missing Debian packages: ${list}. Install them (apt-get install ${list}), or run this as root with --install.`,
    )
    this.name = 'MissingPackages'
    this.packages = packages
  }
}

/** Installs Debian packages without starting the system services that come with them. Needs root. */
export function installPackages(packages: readonly string[]): void {
  if (process.geteuid?.() !== 0) throw new Error('--install needs root, because apt-get does')
  const isOurPolicy = !exists(POLICY)
  if (isOurPolicy) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    // Standard output belongs to the URLs.
    const options = { env, stdio: ['ignore', 2, 2] as ['ignore', 2, 2] }
    execFileSync('apt-get', ['update', '-q'], options)
    execFileSync('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], options)
  } finally {
    if (isOurPolicy) rmSync(POLICY)
  }
}

/** Programs of the newest version that is there and not too old. */
function postgresDirectory(): string | undefined {
  if (!exists(POSTGRES_ROOT)) return undefined
  return readdirSync(POSTGRES_ROOT)
    .map(Number)
    .filter((version) => version >= OLDEST_POSTGRES)
    .sort((a, b) => b - a)
    .map((version) => path.join(POSTGRES_ROOT, String(version), 'bin'))
    .find((directory) => isProgram(path.join(directory, 'initdb')))
}

const programInPath = (name: string): string | undefined =>
  (process.env.PATH ?? '')
    .split(path.delimiter)
    .map((directory) => path.join(directory, name))
    .find(isProgram)

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const exists = (file: string): boolean => statSync(file, { throwIfNoEntry: false }) !== undefined
