import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import path from 'node:path'
import { findBinaries } from './packages.ts'
import { isPostgresRunning, postgresUrl, startPostgres, stopPostgres } from './postgres.ts'
import { isRedisRunning, redisUrl, startRedis, stopRedis } from './redis.ts'

/** Port 0 takes any free one. */
export type Ports = { postgres: number; redis: number; redisFsync: number }

/** Connection URLs under the names of the environment variables that they go into. */
export type Urls = { DATABASE_URL: string; REDIS_URL: string; REDIS_FSYNC_URL: string }

export type StartOptions = {
  directory: string
  ports: Ports
  /** PostgreSQL settings that differ from its own defaults. */
  postgresSettings?: Readonly<Record<string, string>>
}

/** Starts what is not running yet; what runs already keeps its ports. */
export async function startServices({ directory, ports, postgresSettings = {} }: StartOptions): Promise<Urls> {
  const binaries = findBinaries()
  await mkdir(directory, { recursive: true })
  await chmod(directory, 0o711) // the servers, as another user, must reach their own folders in it
  const running = await servicesStatus(directory)
  const chosen = await choosePorts(running, ports)
  await writeFile(portsFile(directory), JSON.stringify(chosen))

  if (!running?.postgres) {
    await startPostgres({ binaries: binaries.postgres, directory, port: chosen.postgres, settings: postgresSettings })
  }
  if (!running?.redis) await startRedis(binaries.redisServer, { directory, kind: 'memory', port: chosen.redis })
  if (!running?.redisFsync)
    await startRedis(binaries.redisServer, { directory, kind: 'fsync', port: chosen.redisFsync })
  return urlsOf(chosen)
}

/** Stops what runs. With `remove`, the directory and all data go too. */
export async function stopServices(directory: string, { remove }: { remove: boolean }): Promise<void> {
  const ports = await readPorts(directory)
  if (ports) {
    await stopPostgres(findBinaries().postgres, directory)
    await stopRedis({ directory, kind: 'memory', port: ports.redis })
    await stopRedis({ directory, kind: 'fsync', port: ports.redisFsync })
  }
  if (remove && ports) await rm(directory, { recursive: true, force: true })
}

/** What runs from this directory; null when nothing ever did. */
export async function servicesStatus(
  directory: string,
): Promise<{ ports: Ports; urls: Urls; postgres: boolean; redis: boolean; redisFsync: boolean } | null> {
  const ports = await readPorts(directory)
  if (!ports) return null
  return {
    ports,
    urls: urlsOf(ports),
    postgres: await isPostgresRunning(findBinaries().postgres, directory),
    redis: await isRedisRunning({ directory, kind: 'memory', port: ports.redis }),
    redisFsync: await isRedisRunning({ directory, kind: 'fsync', port: ports.redisFsync }),
  }
}

type Status = Awaited<ReturnType<typeof servicesStatus>>

/** The port of what runs already, else the wanted one if nobody has it. */
async function choosePorts(status: Status, wanted: Ports): Promise<Ports> {
  const taken: Server[] = []
  const choose = async (name: keyof Ports): Promise<number> => {
    if (status?.[name]) return status.ports[name]
    const server = await occupy(wanted[name])
    taken.push(server)
    return (server.address() as AddressInfo).port
  }
  try {
    return { postgres: await choose('postgres'), redis: await choose('redis'), redisFsync: await choose('redisFsync') }
  } finally {
    // Only now, so that no free port is found twice.
    await Promise.all(taken.map((server) => once(server.close(), 'close')))
  }
}

async function occupy(port: number): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return server
  } catch (cause) {
    throw new Error(`Port ${port} is taken; choose others with --postgres-port, --redis-port, --redis-fsync-port`, {
      cause,
    })
  }
}

const urlsOf = (ports: Ports): Urls => ({
  DATABASE_URL: postgresUrl(ports.postgres),
  REDIS_URL: redisUrl(ports.redis),
  REDIS_FSYNC_URL: redisUrl(ports.redisFsync),
})

const portsFile = (directory: string): string => path.join(directory, 'ports.json')

async function readPorts(directory: string): Promise<Ports | undefined> {
  const text = await readFile(portsFile(directory), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  return text === undefined ? undefined : (JSON.parse(text) as Ports)
}
