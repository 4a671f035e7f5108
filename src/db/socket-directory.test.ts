import { chmod, lstat, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, suite, test } from 'vitest'
import { socketDirectory } from './socket-directory.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'eventcenter-socket-'))
})
afterEach(() => rm(directory, { recursive: true }))

suite('the directory of the socket', () => {
  test('lies beside the data and is closed to others', async () => {
    const path = await socketDirectory(directory, undefined)

    expect(path).toBe(join(directory, 'socket'))
    expect((await lstat(path)).mode & 0o777).toBe(0o700)
  })

  test('is closed again when somebody opened it', async () => {
    await mkdir(join(directory, 'socket'))
    await chmod(join(directory, 'socket'), 0o777)

    const path = await socketDirectory(directory, undefined)

    expect((await lstat(path)).mode & 0o777).toBe(0o700)
  })

  test('is short, the same every time, and another one for other data', async () => {
    const long = join(directory, 'd'.repeat(120))

    const paths = [
      await socketDirectory(long, undefined),
      await socketDirectory(long, undefined),
      await socketDirectory(`${long}2`, undefined),
    ]

    expect(paths[0]).toBe(paths[1])
    expect(paths[0]).not.toBe(paths[2])
    expect(paths[0]!.length).toBeLessThan(80)
    for (const path of new Set(paths)) await rm(path, { recursive: true })
  })

  test('is refused when it is a link that somebody laid', async () => {
    await mkdir(join(directory, 'elsewhere'), { mode: 0o700 })
    await symlink(join(directory, 'elsewhere'), join(directory, 'socket'))

    await expect(socketDirectory(directory, undefined)).rejects.toMatchObject({ code: 'invalid' })
  })
})
