import { constants } from 'node:fs'
import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { AppError } from '../core/errors.ts'

/** Whom PostgreSQL runs as when we are root, which it refuses to run as. */
export type User = { uid: number; gid: number }

const START_AS_OWNER = 'Start EventCenter as that user, or give it other data with DATABASE_URL=embedded:DIRECTORY.'

/**
 * Undefined when this process is not root: run as ourselves. Otherwise whoever owns the cluster at `path` already, or
 * `nobody` for a new one.
 */
export async function unprivilegedUser(path: string): Promise<User | undefined> {
  const own = process.geteuid?.()
  const found = await stat(path).catch(ignoreMissing)
  if (own !== 0) {
    if (found && found.uid !== own)
      throw new AppError('invalid', `${path} belongs to user ${found.uid}. ${START_AS_OWNER}`)
    return undefined
  }
  if (found && found.uid !== 0) return { uid: found.uid, gid: found.gid }
  const user = await nobody()
  if (!found) return user
  throw new AppError(
    'invalid',
    `${path} belongs to root, as whom PostgreSQL refuses to run. Give it to the user nobody: chown -R ${user.uid}:${user.gid} ${path}`,
  )
}

/** The first directory on the way to `directory`, from the top, that `user` may not enter; undefined if there is none. */
export async function closedDirectory(directory: string, user: User): Promise<string | undefined> {
  const steps = [await realpath(directory)]
  for (let at = steps[0] as string; at !== dirname(at); at = dirname(at)) steps.unshift(dirname(at))
  for (const step of steps) {
    if (!(await allows(step, user, constants.X_OK))) return step
  }
  return undefined
}

/** Whether the permissions of `path` itself give `user` this access (`fs.constants.R_OK`, `W_OK`, `X_OK`). */
export async function allows(path: string, user: User, access: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path)
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
  return ((mode >> shift) & access) === access
}

async function nobody(): Promise<User> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(ignoreMissing)
  const [, uid, gid] = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(passwd ?? '') ?? []
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
