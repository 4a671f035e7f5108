import { spawn, execFile } from 'node:child_process'
import { readFile, readlink, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { SOCKET } from './socket-directory.ts'
import type { User } from './unprivileged-user.ts'

/** The main process of a PostgreSQL server: started by us, or by a process of ours that is gone. */
export type Postmaster = {
  pid: number
  adopted: boolean
  /** Where its socket is, once it accepts connections; rejects when it never will. */
  ready: Promise<string>
  /** Resolves when it is dead. */
  exited: Promise<void>
}

type StartOptions = {
  user: User | undefined
  socketDirectory: string
  settings: Readonly<Record<string, string>>
  /** Descriptor of the file for its messages. */
  log: number
}

const POLL_MS = 5
const WATCH_MS = 500
/** A crash recovery reads at most `max_wal_size`, but disks can be slow. */
const READY_TIMEOUT_MS = 300_000
const FAST_STOP_MS = 10_000
const IMMEDIATE_STOP_MS = 10_000

/** The postmaster that is alive on this cluster; undefined when there is none. */
export async function adoptPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const file = await readPidFile(cluster)
  if (!file || !(await isPostmaster(file.pid, cluster))) return undefined
  const exited = watch(file.pid, cluster)
  const postmaster = { pid: file.pid, adopted: true, exited, ready: waitUntilReady(cluster, file.pid, exited) }
  if (file.state === 'stopping') {
    await stopPostmaster(postmaster)
    return undefined
  }
  if (file.state !== 'ready' || (await exists(join(file.socketDirectory, SOCKET)))) return postmaster
  await stopPostmaster(postmaster) // its directory was moved, or its socket swept away: nobody can reach it
  return undefined
}

/** Starts a postmaster. It survives this process and the Ctrl-C of its terminal, because we still have work to end. */
export async function startPostmaster(
  { postgres }: PostgresBinaries,
  cluster: string,
  { user, socketDirectory, settings, log }: StartOptions,
): Promise<Postmaster> {
  // Left by a dead one. PostgreSQL would refuse to start if another process had its number by now. That no server is
  // alive we know, and PostgreSQL makes sure once more by its shared memory.
  await rm(join(cluster, 'postmaster.pid'), { force: true })
  await rm(join(socketDirectory, `${SOCKET}.lock`), { force: true })
  const given = Object.entries({ ...settings, unix_socket_directories: socketDirectory })
  const args = ['-D', cluster, ...given.flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const child = spawn(postgres, args, {
    ...user,
    cwd: cluster,
    env: { TZ: 'UTC', LC_ALL: 'C' },
    detached: true,
    stdio: ['ignore', log, log],
  })
  child.unref()
  const { promise: exited, resolve } = Promise.withResolvers<void>()
  child.once('exit', () => resolve())
  const spawned = Promise.withResolvers<void>()
  child.once('spawn', spawned.resolve)
  child.once('error', spawned.reject)
  await spawned.promise
  const pid = child.pid as number
  return { pid, adopted: false, exited, ready: waitUntilReady(cluster, pid, exited) }
}

/** Stops it after the running statements were cancelled; without that, when it does not come to an end. */
export async function stopPostmaster({ pid, exited, ready }: Postmaster): Promise<void> {
  ready.catch(() => {}) // nobody waits for it any more
  if (await isSettledWithin(exited, 0)) return // its number may be another process's by now
  for (const [signal, deadlineMs] of [
    ['SIGINT', FAST_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
  ] as const) {
    sendSignal(pid, signal)
    if (await isSettledWithin(exited, deadlineMs)) return
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop`)
}

async function waitUntilReady(cluster: string, pid: number, exited: Promise<void>): Promise<string> {
  let hasExited = false
  const markExited = exited.then(() => (hasExited = true))
  for (const start = performance.now(); performance.now() - start < READY_TIMEOUT_MS;) {
    const file = await readPidFile(cluster)
    if (file?.pid === pid && file.state === 'ready') return file.socketDirectory
    if (hasExited) throw new Error('PostgreSQL ended while it started')
    await Promise.race([sleep(POLL_MS), markExited])
  }
  throw new Error(`PostgreSQL (process ${pid}) is not ready after ${READY_TIMEOUT_MS / 1000} s`)
}

/** https://www.postgresql.org/docs/18/storage-file-layout.html: one fact a line; the last one is the state. */
async function readPidFile(
  cluster: string,
): Promise<{ pid: number; socketDirectory: string; state: string } | undefined> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return ''
  })
  const [pid, , , , socketDirectory = '', , , state = ''] = text.split('\n')
  return Number(pid) > 0 ? { pid: Number(pid), socketDirectory, state: state.trim() } : undefined
}

/**
 * A process number may belong to somebody else by now. A postmaster has its cluster among its arguments and works in
 * the cluster's directory; the latter is right after a move too, but a container may hide it.
 */
async function isPostmaster(pid: number, cluster: string): Promise<boolean> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', `${pid}`]).catch(() => ({
      stdout: '',
    }))
    return stdout.includes(`-D ${cluster} `)
  }
  const [command = '', option, directory] = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
  if (basename(command) !== 'postgres' || option !== '-D') return false
  return directory === cluster || (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === cluster
}

async function watch(pid: number, cluster: string): Promise<void> {
  while (await isPostmaster(pid, cluster)) await sleep(WATCH_MS, undefined, { ref: false })
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function isSettledWithin(promise: Promise<void>, deadlineMs: number): Promise<boolean> {
  const timer = new AbortController()
  const late = sleep(deadlineMs, false, { signal: timer.signal }).catch(() => false)
  const isSettled = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return isSettled
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
