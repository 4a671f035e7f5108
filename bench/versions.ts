import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import pg from 'pg'

const HERE = import.meta.dirname

/** Installs the exact versions of package.json here, unless they are here already. Nothing outside changes. */
export function installPeers(): void {
  const isComplete = Object.entries(pins()).every(([name, version]) => installed(name) === version)
  if (isComplete) return
  console.log('Installing the peers into bench/node_modules …')
  // Not `npm ci`, which refuses a lock file without the native parts of platforms that a registry does not have.
  execFileSync('npm', ['install', '--no-save'], { cwd: HERE, stdio: ['ignore', 'inherit', 'inherit'] })
}

/** Versions of everything that is measured. */
export async function versionsOf(urls: { DATABASE_URL: string; REDIS_URL: string }): Promise<Record<string, string>> {
  return { PostgreSQL: await postgresVersion(urls.DATABASE_URL), Redis: await redisVersion(urls.REDIS_URL), ...pins() }
}

const pins = (): Record<string, string> =>
  (JSON.parse(readFileSync(path.join(HERE, 'package.json'), 'utf8')) as { dependencies: Record<string, string> })
    .dependencies

function installed(name: string): string | undefined {
  try {
    const file = path.join(HERE, 'node_modules', name, 'package.json')
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  } catch {
    return undefined
  }
}

async function postgresVersion(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ server_version: string }>('show server_version')
  await client.end()
  return rows[0]?.server_version ?? 'unknown'
}

async function redisVersion(url: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = connect(Number(port), hostname, () => socket.write('INFO server\r\n'))
  socket.once('data', (data) => resolve(data.toString()))
  socket.once('error', reject)
  const answer = await promise
  socket.destroy()
  return /redis_version:(\S+)/.exec(answer)?.[1] ?? 'unknown'
}
