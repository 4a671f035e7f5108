import { spawn, execFile } from 'node:child_process'
import { readFile, readlink, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { PostgresBinaries } from './postgres-binaries.ts'
import type { User } from './unprivileged-user.ts'

/** The main process of a PostgreSQL server: started by us, or by a process of ours that is gone. */
export type Postmaster = {
  pid: number
  socketDirectory: string
  adopted: boolean
  /** Resolves when it is dead. */
  exited: Promise<void>
}

type PidFile = { pid: number; socketDirectory: string; isReady: boolean }

const POLL_MS = 5
const WATCH_MS = 500
/** A crash recovery reads at most `max_wal_size`, but disks can be slow. */
const READY_TIMEOUT_MS = 300_000
const FAST_STOP_MS = 10_000
const IMMEDIATE_STOP_MS = 10_000

/** The postmaster that is alive on this cluster, once it accepts connections; undefined when there is none. */
export async function adoptPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const file = await readPidFile(cluster)
  if (!file || !(await isPostmaster(file.pid, cluster))) return undefined
  const exited = watch(file.pid, cluster)
  const ready = await waitUntilReady(cluster, file.pid, exited)
  return ready && { ...ready, adopted: true, exited }
}

/** Starts a postmaster. It survives this process and the Ctrl-C of its terminal, because we still have work to end. */
export async function startPostmaster(
  { postgres }: PostgresBinaries,
  cluster: string,
  { user, settings, log }: { user: User | undefined; settings: Record<string, string>; log: number },
): Promise<Postmaster> {
  // Left by a dead one. PostgreSQL would refuse to start if another process had its number by now.
  await rm(join(cluster, 'postmaster.pid'), { force: true })
  const args = ['-D', cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const child = spawn(postgres, args, {
    ...user,
    cwd: cluster,
    env: { TZ: 'UTC', LC_ALL: 'C' },
    detached: true,
    stdio: ['ignore', log, log],
  })
  const exited = new Promise<void>((resolve, reject) => {
    child.once('exit', () => resolve())
    child.once('error', reject)
  })
  const ready = child.pid === undefined ? await exited : await waitUntilReady(cluster, child.pid, exited)
  if (!ready) throw new Error('PostgreSQL ended while it started')
  return { ...ready, adopted: false, exited }
}

/** Stops it after the running statements were cancelled; without that, when it does not come to an end. */
export async function stopPostmaster({ pid, exited }: Postmaster): Promise<void> {
  for (const [signal, deadlineMs] of [
    ['SIGINT', FAST_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
  ] as const) {
    sendSignal(pid, signal)
    if (await isSettledWithin(exited, deadlineMs)) return
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop`)
}

async function waitUntilReady(cluster: string, pid: number, exited: Promise<void>): Promise<PidFile | undefined> {
  let hasExited = false
  const markExited = exited.finally(() => (hasExited = true))
  for (const start = performance.now(); performance.now() - start < READY_TIMEOUT_MS;) {
    const file = await readPidFile(cluster)
    if (file?.pid === pid && file.isReady) return file
    if (hasExited) {
      await markExited
      return undefined
    }
    await Promise.race([sleep(POLL_MS), markExited])
  }
  throw new Error(`PostgreSQL (process ${pid}) is not ready after ${READY_TIMEOUT_MS / 1000} s`)
}

/** https://www.postgresql.org/docs/18/storage-file-layout.html: one fact a line; the last one is the state. */
async function readPidFile(cluster: string): Promise<PidFile | undefined> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return ''
  })
  const [pid, , , , socketDirectory = '', , , state = ''] = text.split('\n')
  return Number(pid) > 0 ? { pid: Number(pid), socketDirectory, isReady: state.trim() === 'ready' } : undefined
}

/** A process number may belong to somebody else by now; a postmaster lives in its cluster's directory. */
async function isPostmaster(pid: number, cluster: string): Promise<boolean> {
  if (process.platform === 'linux') return (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === cluster
  const { stdout } = await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', `${pid}`]).catch(() => ({
    stdout: '',
  }))
  return stdout.includes(`-D ${cluster} `)
}

async function watch(pid: number, cluster: string): Promise<void> {
  while (await isPostmaster(pid, cluster)) await sleep(WATCH_MS, undefined, { ref: false })
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
