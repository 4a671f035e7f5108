import { execFile } from 'node:child_process'
import { chown, mkdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { unprivilegedUser, type User } from '../../src/db/unprivileged-user.ts'

const run = promisify(execFile)

export const POSTGRES_USER = 'eventcenter'
export const postgresUrl = (port: number): string => `postgres://${POSTGRES_USER}@127.0.0.1:${port}/${POSTGRES_USER}`

type Start = { binaries: string; directory: string; port: number; settings: Readonly<Record<string, string>> }

/** Creates the cluster on first use and starts it, on loopback only. As root it runs as another user, as it must. */
export async function startPostgres({ binaries, directory, port, settings }: Start): Promise<void> {
  const cluster = clusterOf(directory)
  const user = await unprivilegedUser(cluster)
  if (!(await hasCluster(directory))) await create(binaries, cluster, user)
  const options = { ...settings, port: String(port), listen_addresses: '127.0.0.1', unix_socket_directories: cluster }
  const flags = Object.entries(options).map(([name, value]) => `-c ${name}='${value}'`)
  const log = path.join(cluster, 'server.log')
  await run(path.join(binaries, 'pg_ctl'), ['start', '--wait', '-D', cluster, '-l', log, '-o', flags.join(' ')], {
    ...user,
    cwd: cluster,
  })
  const isNew = !(await databases(binaries, cluster, port, user)).includes(POSTGRES_USER)
  if (isNew) {
    await run(path.join(binaries, 'createdb'), [...connection(cluster, port), POSTGRES_USER], { ...user, cwd: cluster })
  }
}

/** Stops it and waits; does nothing when it is not running. */
export async function stopPostgres(binaries: string, directory: string): Promise<void> {
  if (!(await isPostgresRunning(binaries, directory))) return
  const cluster = clusterOf(directory)
  const options = { ...(await unprivilegedUser(cluster)), cwd: cluster }
  await run(path.join(binaries, 'pg_ctl'), ['stop', '--wait', '-m', 'fast', '-D', cluster], options)
}

export async function isPostgresRunning(binaries: string, directory: string): Promise<boolean> {
  if (!(await hasCluster(directory))) return false
  const cluster = clusterOf(directory)
  const options = { ...(await unprivilegedUser(cluster)), cwd: cluster }
  return run(path.join(binaries, 'pg_ctl'), ['status', '-D', cluster], options).then(
    () => true,
    (error: { code?: unknown }) => {
      if (error.code === 3) return false // what pg_ctl says of a server that is not running
      throw error
    },
  )
}

async function create(binaries: string, cluster: string, user: User | undefined): Promise<void> {
  await mkdir(cluster, { mode: 0o700 })
  if (user) await chown(cluster, user.uid, user.gid)
  const options = ['--auth=trust', '--encoding=UTF8', '--locale=C', `--username=${POSTGRES_USER}`, '--pgdata', cluster]
  await run(path.join(binaries, 'initdb'), options, { ...user, cwd: cluster })
}

async function databases(binaries: string, cluster: string, port: number, user: User | undefined): Promise<string[]> {
  const sql = 'select datname from pg_database'
  const args = [...connection(cluster, port), '-d', 'postgres', '-XAtc', sql]
  const { stdout } = await run(path.join(binaries, 'psql'), args, { ...user, cwd: cluster })
  return stdout.split('\n')
}

const connection = (cluster: string, port: number): string[] => ['-h', cluster, '-p', String(port), '-U', POSTGRES_USER]
const clusterOf = (directory: string): string => path.join(directory, 'postgres')

const hasCluster = (directory: string): Promise<boolean> =>
  stat(path.join(clusterOf(directory), 'PG_VERSION')).then(
    () => true,
    () => false,
  )
