/**
 * Real PostgreSQL and Redis for development and for the bench, from Debian's packages, on loopback ports, in a scratch
 * directory: `npm run services -- start|stop|status`. They have no passwords, so they are for machines that you alone
 * use. Where Docker runs, `docker compose up -d` gives the same addresses.
 */
import { tmpdir, userInfo } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { findBinaries, installPackages, MissingPackages } from './services/packages.ts'
import { servicesStatus, startServices, stopServices, type Urls } from './services/start-services.ts'

const HELP = `npm run services -- start|stop|status [options]

  start    starts PostgreSQL and two Redis servers (one forgets, one syncs every write) and prints their URLs
  stop     stops them; --remove also removes their data
  status   prints what runs; exit code 3 when something does not

  --directory DIR           where they keep their data (default: a folder in the system's temporary directory)
  --postgres-port N         default 55432; 0 takes any free port
  --redis-port N            default 56379
  --redis-fsync-port N      default 56380
  --install                 installs missing Debian packages first (as root)

For the shell: eval "$(npm run --silent services -- start | sed 's/^/export /')"
`

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof Error)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}

async function main(): Promise<number> {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      directory: { type: 'string', default: path.join(tmpdir(), `eventcenter-services-${userInfo().uid}`) },
      'postgres-port': { type: 'string', default: '55432' },
      'redis-port': { type: 'string', default: '56379' },
      'redis-fsync-port': { type: 'string', default: '56380' },
      install: { type: 'boolean', default: false },
      remove: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const directory = path.resolve(options.directory)
  const [verb] = positionals

  if (options.help || positionals.length !== 1) {
    process.stderr.write(HELP)
    return options.help ? 0 : 2
  }
  if (options.install) installMissing()

  switch (verb) {
    case 'start': {
      const ports = {
        postgres: port('--postgres-port', options['postgres-port']),
        redis: port('--redis-port', options['redis-port']),
        redisFsync: port('--redis-fsync-port', options['redis-fsync-port']),
      }
      print(await startServices({ directory, ports }))
      return 0
    }
    case 'stop':
      await stopServices(directory, { remove: options.remove })
      return 0
    case 'status':
      return printStatus(directory)
    default:
      process.stderr.write(HELP)
      return 2
  }
}

function installMissing(): void {
  try {
    findBinaries()
  } catch (error) {
    if (!(error instanceof MissingPackages)) throw error
    installPackages(error.packages)
  }
}

async function printStatus(directory: string): Promise<number> {
  const status = await servicesStatus(directory)
  const parts = { PostgreSQL: status?.postgres, Redis: status?.redis, 'Redis with fsync': status?.redisFsync }
  for (const [name, isRunning] of Object.entries(parts)) {
    process.stderr.write(`${name}: ${isRunning ? 'runs' : 'does not run'}\n`)
  }
  if (!status || Object.values(parts).includes(false)) return 3
  print(status.urls)
  return 0
}

function print(urls: Urls): void {
  process.stdout.write(
    Object.entries(urls)
      .map(([name, url]) => `${name}=${url}\n`)
      .join(''),
  )
}

function port(option: string, text: string): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number <= 65_535) return number
  throw new Error(`${option}: expected a port, 0 to 65535`)
}
