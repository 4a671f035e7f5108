import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, suite, test } from 'vitest'
import { closedDirectory, unprivilegedUser } from './unprivileged-user.ts'

const stranger = { uid: 123_456, gid: 123_456 }

suite('a directory', () => {
  test('that a user cannot enter is named, the outermost first', async () => {
    const outer = await realpath(await mkdtemp(join(tmpdir(), 'eventcenter-user-')))
    const inner = join(outer, 'a', 'b')
    await mkdir(inner, { recursive: true })

    await chmod(outer, 0o711)
    expect(await closedDirectory(inner, stranger)).toBeUndefined()
    await chmod(inner, 0o750)
    expect(await closedDirectory(inner, stranger)).toBe(inner)
    await chmod(outer, 0o700)
    expect(await closedDirectory(inner, stranger)).toBe(outer)
    expect(await closedDirectory(inner, { uid: process.geteuid!(), gid: 0 })).toBeUndefined()
    await rm(outer, { recursive: true })
  })
})

suite('the user that PostgreSQL runs as', () => {
  test('is never root', async () => {
    const user = await unprivilegedUser('/nonexistent')

    expect(user?.uid ?? process.geteuid?.()).not.toBe(0)
  })

  test('is not the one who started us when the data belong to another', async () => {
    await expect(process.geteuid?.() === 0 ? unprivilegedUser('/etc') : unprivilegedUser('/')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/belongs to/),
    })
  })
})
