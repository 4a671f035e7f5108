import { open, mkdir, realpath, stat, chmod, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../core/errors.ts'
import { ensureCluster, settings, SUPERUSER } from './cluster.ts'
import { ownDirectory } from './owner-lock.ts'
import { postgresBinaries } from './postgres-binaries.ts'
import { adoptPostmaster, startPostmaster, stopPostmaster, type Postmaster } from './postmaster.ts'
import { socketDirectory } from './socket-directory.ts'
import { closedDirectory, unprivilegedUser, type User } from './unprivileged-user.ts'

export type EmbeddedOptions = {
  log?: { info(fields: object, message: string): void; error(fields: object, message: string): void }
  /** Settings of PostgreSQL that replace ours, as tests do that need no durability. */
  settings?: Record<string, string>
}

export type Embedded = {
  /** For `connect`; stays the same when the server is restarted. */
  url: string
  /** The server was still running, left by a process of ours that ended suddenly. */
  adopted: boolean
  /** Process number of the server that runs now. */
  pid: () => number
  /** Stops the server and lets others have the directory. */
  stop: () => Promise<void>
}

const MAX_PAUSE_MS = 10_000

/**
 * Runs a PostgreSQL of our own over `directory`, which it makes if need be, and keeps it running until `stop`.
 * Rejects with an `AppError` that says what to do when another server uses the directory or the data cannot be used.
 */
export async function startEmbedded(directory: string, options: EmbeddedOptions = {}): Promise<Embedded> {
  const user = await unprivilegedUser()
  const root = await prepare(directory, user)
  const owner = await ownDirectory(root)
  const logFile = await open(join(root, 'postgres.log'), 'a', 0o600)
  let postmaster: Postmaster
  let start: () => Promise<Postmaster>
  try {
    start = await starter(root, user, logFile, options)
    postmaster = await start()
  } catch (error) {
    await logFile.close()
    owner.release()
    throw error
  }
  const { adopted, socketDirectory } = postmaster
  const stopping = new AbortController()
  const supervision = supervise()

  return {
    url: `postgres://${SUPERUSER}@/postgres?host=${encodeURIComponent(socketDirectory)}`,
    adopted,
    pid: () => postmaster.pid,
    async stop() {
      stopping.abort()
      await supervision
      await stopPostmaster(postmaster)
      await logFile.close()
      owner.release()
    },
  }

  async function supervise(): Promise<void> {
    const stopped = new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()))
    while (true) {
      await Promise.race([postmaster.exited, stopped])
      if (stopping.signal.aborted) return
      options.log?.error({ pid: postmaster.pid }, 'the database server ended unexpectedly')
      if (!(await restart())) return
    }
  }

  async function restart(): Promise<boolean> {
    for (let pauseMs = 0; !stopping.signal.aborted; pauseMs = Math.min(pauseMs * 2 || 100, MAX_PAUSE_MS)) {
      try {
        await sleep(pauseMs, undefined, { signal: stopping.signal })
        postmaster = await start()
        options.log?.info({ pid: postmaster.pid }, 'the database server was restarted')
        return true
      } catch (error) {
        if (!stopping.signal.aborted) options.log?.error({ err: error }, 'the database server does not start')
      }
    }
    return false
  }
}

/** What every start needs, found once. The result adopts the server that is there, or starts one. */
async function starter(
  root: string,
  user: User | undefined,
  logFile: FileHandle,
  options: EmbeddedOptions,
): Promise<() => Promise<Postmaster>> {
  const cluster = join(root, 'postgres')
  const binaries = await postgresBinaries(root, user)
  await ensureCluster(cluster, binaries, user)
  const unix_socket_directories = await socketDirectory(root, user)
  const given = { ...settings, ...options.settings, unix_socket_directories }
  return async () =>
    (await adoptPostmaster(cluster)) ??
    (await startPostmaster(binaries, cluster, { user, settings: given, log: logFile.fd }))
}

async function prepare(directory: string, user: User | undefined): Promise<string> {
  await mkdir(directory, { recursive: true })
  const root = await realpath(directory)
  if (!user) return root
  const { mode } = await stat(root)
  if ((mode & 0o001) === 0) await chmod(root, mode | 0o001) // to pass through, not to look around
  const closed = await closedDirectory(join(root, '.'), user)
  if (closed) {
    throw new AppError(
      'invalid',
      `EventCenter was started by root, so PostgreSQL runs as the user nobody (${user.uid}), who cannot enter ${closed}. ` +
        `Allow that (chmod o+x ${closed}), keep the data elsewhere, or start EventCenter as another user.`,
    )
  }
  return root
}
