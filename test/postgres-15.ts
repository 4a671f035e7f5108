import { execFile } from 'node:child_process'
import { access, chmod, chown, mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startPostmaster, stopPostmaster } from '../src/db/postmaster.ts'
import { unprivilegedUser } from '../src/db/unprivileged-user.ts'

const BINARIES = '/usr/lib/postgresql/15/bin'

/** The oldest PostgreSQL that we promise to run on, as Debian 12 ships it. */
export async function startPostgres15(): Promise<{ url: string; stop: () => Promise<void> }> {
  await access(join(BINARIES, 'initdb')).catch((cause: unknown) => {
    throw new Error(`This test needs ${BINARIES}/initdb: install the Debian package postgresql-15`, { cause })
  })
  const directory = await mkdtemp(join(tmpdir(), 'eventcenter-15-'))
  await chmod(directory, 0o711)
  const cluster = join(directory, 'postgres')
  const user = await unprivilegedUser(cluster)
  await mkdir(cluster, { mode: 0o700 })
  if (user) await chown(cluster, user.uid, user.gid)
  const options = [
    `--pgdata=${cluster}`,
    '--username=eventcenter',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
  ]
  await promisify(execFile)(join(BINARIES, 'initdb'), options, { ...user, cwd: cluster })
  const log = await open(join(directory, 'postgres.log'), 'a')
  const postmaster = await startPostmaster({ initdb: '', postgres: join(BINARIES, 'postgres') }, cluster, {
    user,
    socketDirectory: cluster,
    settings: { listen_addresses: '', fsync: 'off' },
    log: log.fd,
  })
  await postmaster.ready

  return {
    url: `postgres://eventcenter@/postgres?host=${encodeURIComponent(cluster)}`,
    async stop() {
      await stopPostmaster(postmaster)
      await log.close()
      await rm(directory, { recursive: true })
    },
  }
}
