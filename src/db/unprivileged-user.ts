import { constants } from 'node:fs'
import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Whom PostgreSQL runs as when we are root, which it refuses to run as. */
export type User = { uid: number; gid: number }

/** `nobody` when this process is root, otherwise undefined: run as ourselves. */
export async function unprivilegedUser(): Promise<User | undefined> {
  if (process.geteuid?.() !== 0) return undefined
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const [, uid, gid] = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(passwd) ?? []
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) }
}

/** The first directory on the way to `path`, from the top, that `user` may not enter; undefined when there is none. */
export async function closedDirectory(path: string, user: User): Promise<string | undefined> {
  const directories: string[] = []
  for (let at = await realpath(path); at !== dirname(at); at = dirname(at)) directories.unshift(dirname(at))
  for (const directory of directories) {
    if (!(await allows(directory, user, constants.X_OK))) return directory
  }
  return undefined
}

/** Whether the permissions of `path` itself give `user` this access (`fs.constants.R_OK`, `W_OK`, `X_OK`). */
export async function allows(path: string, user: User, access: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path)
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
  return ((mode >> shift) & access) === access
}
