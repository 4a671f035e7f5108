import { createHash } from 'node:crypto'
import { chmod, chown, lstat, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../core/errors.ts'
import type { User } from './unprivileged-user.ts'

/** `sun_path` is 108 bytes on Linux, 104 on macOS, with a zero at the end. */
const MAX_SOCKET_PATH_BYTES = 103
export const SOCKET = '.s.PGSQL.5432'

/**
 * A directory for the socket of the cluster in `directory` that nobody but `user` and root can enter: whoever can,
 * is let into the database. Lies in `directory`, or in the temporary directory when that path is too long for a socket.
 */
export async function socketDirectory(directory: string, user: User | undefined): Promise<string> {
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 16)
  const name = `eventcenter-${process.geteuid?.() ?? 0}-${hash}`
  const path = [join(directory, 'socket'), join(tmpdir(), name), join('/tmp', name)].find(fits)
  if (!path) throw new AppError('invalid', `${tmpdir()} is too long a path for a socket`)
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await makePrivate(path, user)
  return path
}

const fits = (directory: string): boolean => Buffer.byteLength(join(directory, SOCKET)) <= MAX_SOCKET_PATH_BYTES

/** In a directory that all can write to, another user may have been here first. */
async function makePrivate(path: string, user: User | undefined): Promise<void> {
  const own = process.geteuid?.()
  const found = await lstat(path)
  const isOurs = found.isDirectory() && (found.uid === own || found.uid === user?.uid)
  if (!isOurs) throw new AppError('invalid', `${path} was made by somebody else. Remove it, then start again.`)
  if ((found.mode & 0o777) !== 0o700) await chmod(path, 0o700)
  if (user && found.uid !== user.uid) await chown(path, user.uid, user.gid)
}
