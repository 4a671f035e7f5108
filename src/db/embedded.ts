import { chmod, mkdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { AppError } from '../core/errors.ts'
import { ensureCluster, settings, SUPERUSER } from './cluster.ts'
import { ownDirectory } from './owner-lock.ts'
import { postgresBinaries } from './postgres-binaries.ts'
import { openPostgresLog, type PostgresLog } from './postgres-log.ts'
import { adoptPostmaster, startPostmaster, stopPostmaster, type Postmaster } from './postmaster.ts'
import { socketDirectory } from './socket-directory.ts'
import { closedDirectory, unprivilegedUser, type User } from './unprivileged-user.ts'

export type EmbeddedOptions = {
  log?: Pick<Logger, 'info' | 'error'>
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

/** Makes or finds a postmaster whose socket is in that directory; the one for new sockets when undefined. */
type Launch = (socket?: string) => Promise<Postmaster>

const MAX_PAUSE_MS = 10_000
/** A server that lived shorter than this is restarted after a pause. */
const STABLE_MS = 10_000

/**
 * Runs a PostgreSQL of our own over `directory`, which it makes if need be, and keeps it running until `stop`.
 * Rejects with an `AppError` that says what to do when another server uses the directory or the data cannot be used.
 */
export async function startEmbedded(directory: string, options: EmbeddedOptions = {}): Promise<Embedded> {
  try {
    const root = await makeDirectory(directory)
    const user = await unprivilegedUser(join(root, 'postgres'))
    if (user) await letPass(root, user)
    const owner = await ownDirectory(root)
    return await start(root, user, options, owner).catch((error: unknown) => {
      owner.release()
      throw error
    })
  } catch (error) {
    throw withAdvice(error)
  }
}

async function start(
  root: string,
  user: User | undefined,
  options: EmbeddedOptions,
  owner: { release: () => void },
): Promise<Embedded> {
  const serverLog = await openPostgresLog(root)
  try {
    const launch = await launcher(root, user, serverLog, options)
    const postmaster = await launch()
    const socket = await readiness(postmaster, serverLog)
    const supervision = supervise(postmaster, () => launch(socket), serverLog, options.log)
    let stopped: Promise<void> | undefined
    const stop = async (): Promise<void> => {
      await supervision.stop()
      await serverLog.close()
      owner.release()
    }
    return {
      url: `postgres://${SUPERUSER}@/postgres?host=${encodeURIComponent(socket)}`,
      adopted: postmaster.adopted,
      pid: supervision.pid,
      stop: () => (stopped ??= stop()),
    }
  } catch (error) {
    await serverLog.close()
    throw error
  }
}

/** Starts the server again whenever it ends, until `stop`. */
function supervise(
  first: Postmaster,
  launch: () => Promise<Postmaster>,
  serverLog: PostgresLog,
  log: EmbeddedOptions['log'],
): { pid: () => number; stop: () => Promise<void> } {
  let postmaster = first
  const stopping = new AbortController()
  const stopped = new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()))
  const supervision = keepRunning()
  return {
    pid: () => postmaster.pid,
    async stop() {
      stopping.abort()
      await supervision
      await stopPostmaster(postmaster)
    },
  }

  async function keepRunning(): Promise<void> {
    for (let pauseMs = 0; ;) {
      const start = performance.now()
      await Promise.race([postmaster.exited, stopped])
      if (stopping.signal.aborted) return
      log?.error({ pid: postmaster.pid }, 'the database server ended unexpectedly')
      if (performance.now() - start > STABLE_MS) pauseMs = 0
      await Promise.race([sleep(pauseMs, undefined, { ref: false }), stopped])
      pauseMs = Math.min(pauseMs * 2 || 100, MAX_PAUSE_MS)
      if (!stopping.signal.aborted) await restart()
    }
  }

  async function restart(): Promise<void> {
    try {
      postmaster = await launch()
      await Promise.race([readiness(postmaster, serverLog), stopped])
      log?.info({ pid: postmaster.pid }, 'the database server was restarted')
    } catch (error) {
      log?.error({ err: error }, 'the database server does not start')
    }
  }
}

async function launcher(
  root: string,
  user: User | undefined,
  { descriptor }: PostgresLog,
  options: EmbeddedOptions,
): Promise<Launch> {
  const cluster = join(root, 'postgres')
  const binaries = await postgresBinaries(root, user)
  await ensureCluster(cluster, binaries, user)
  const ours = await socketDirectory(root, user)
  const given = { user, settings: { ...settings, ...options.settings }, log: descriptor }
  return async (socket = ours) =>
    (await adoptPostmaster(cluster)) ?? startPostmaster(binaries, cluster, { ...given, socketDirectory: socket })
}

async function readiness({ ready }: Postmaster, serverLog: PostgresLog): Promise<string> {
  try {
    return await ready
  } catch (error) {
    throw new Error(`${(error as Error).message}. Its last words:\n${await serverLog.tail()}`, { cause: error })
  }
}

async function makeDirectory(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true })
  return realpath(directory)
}

async function letPass(root: string, user: User): Promise<void> {
  const { mode } = await stat(root)
  if ((mode & 0o001) === 0) await chmod(root, mode | 0o001) // to pass through, not to look around
  const closed = await closedDirectory(root, user)
  if (closed === undefined) return
  throw new AppError(
    'invalid',
    `EventCenter was started by root, so PostgreSQL runs as user ${user.uid}, who cannot enter ${closed}. ` +
      `Allow that (chmod o+x ${closed}), keep the data elsewhere (DATABASE_URL=embedded:/var/lib/eventcenter), ` +
      'or start EventCenter as another user.',
  )
}

/** Denied by the operating system: the operator can act on that. */
function withAdvice(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  if (!['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT'].includes(code ?? '')) return error
  return new AppError('invalid', `The built-in PostgreSQL cannot use its directory: ${message}`, { cause: error })
}
