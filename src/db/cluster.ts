import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chown, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { AppError } from '../core/errors.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import type { User } from './unprivileged-user.ts'

const MAJOR_VERSION = '18'
export const SUPERUSER = 'eventcenter'

/**
 * Settings of a server that shares a small machine with us: few processes, little memory, nothing less durable.
 * Given on the command line, so that a new version of EventCenter brings its own.
 */
export const settings: Readonly<Record<string, string>> = {
  listen_addresses: '', // no TCP: the directory of the socket is the access control
  port: '5432',
  unix_socket_permissions: '0700',
  max_connections: '40',
  shared_buffers: '32MB',
  effective_cache_size: '512MB',
  maintenance_work_mem: '32MB',
  random_page_cost: '1.1',
  jit: 'off',
  io_method: 'sync', // three processes fewer
  max_worker_processes: '0',
  max_parallel_workers: '0',
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  max_logical_replication_workers: '0',
  max_wal_senders: '0',
  wal_level: 'minimal',
  wal_buffers: '4MB',
  min_wal_size: '64MB',
  max_wal_size: '512MB',
  checkpoint_timeout: '15min',
  autovacuum_max_workers: '2',
  autovacuum_naptime: '15s', // queue tables turn over quickly
  // Texts of statements and of errors hold personal data; whoever sent the statement gets them anyway.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
  log_line_prefix: '%m [%p] ',
  log_timezone: 'UTC',
  timezone: 'UTC',
}

/** Makes the cluster at `path` unless there is one. It appears there complete or not at all. */
export async function ensureCluster(path: string, binaries: PostgresBinaries, user: User | undefined): Promise<void> {
  const version = await readFile(join(path, 'PG_VERSION'), 'utf8').catch(ignoreMissing)
  if (version === undefined) await create(path, binaries, user)
  else if (version.trim() !== MAJOR_VERSION) {
    throw new AppError(
      'invalid',
      `${path} was made by PostgreSQL ${version.trim()}, and this EventCenter brings PostgreSQL ${MAJOR_VERSION}. ` +
        'Start the EventCenter that made it, or move its data to a server of your own and set DATABASE_URL.',
    )
  }
}

async function create(path: string, { initdb }: PostgresBinaries, user: User | undefined): Promise<void> {
  if (!user) requireName()
  await removeUnfinished(path)
  const temporary = `${path}.new-${randomUUID()}`
  await mkdir(temporary, { mode: 0o700 })
  if (user) await chown(temporary, user.uid, user.gid)
  const options = [
    `--pgdata=${temporary}`,
    `--username=${SUPERUSER}`,
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
    '--no-instructions',
  ]
  await promisify(execFile)(initdb, options, { ...user, cwd: temporary, env: { TZ: 'UTC', LC_ALL: 'C' } }).catch(
    (error: Error & { stderr?: string }) => {
      throw new Error(`initdb failed: ${error.stderr?.trim() || error.message}`, { cause: error })
    },
  )
  await rename(temporary, path)
  const directory = await open(dirname(path))
  await directory.sync()
  await directory.close()
}

/** Only initdb asks for the name of the user it runs as; a container may run as a bare number. */
function requireName(): void {
  try {
    userInfo()
  } catch (cause) {
    throw new AppError(
      'invalid',
      `PostgreSQL cannot make its files as user ${process.geteuid?.()}, who has no entry in /etc/passwd. ` +
        'Add one, start EventCenter as another user, or set DATABASE_URL to a PostgreSQL of your own.',
      { cause },
    )
  }
}

/** What an initdb left behind that did not come to its end. It may run still, without its parent: hence the retries. */
async function removeUnfinished(path: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(`${basename(path)}.new-`))
      await rm(join(dirname(path), name), { recursive: true, force: true, maxRetries: 10 })
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
