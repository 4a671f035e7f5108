import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbedded, type Embedded } from '../src/db/embedded.ts'
import { migrate } from '../src/db/migrate.ts'
import { ownDirectory } from '../src/db/owner-lock.ts'
import { connect } from '../src/db/pool.ts'
import { adoptPostmaster, stopPostmaster } from '../src/db/postmaster.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Of the server that all tests share; its database `template` has the tables and is cloned by `freshDatabase`. */
    databaseUrl: string
  }
}

const PREFIX = 'eventcenter-test-'
let directory: string | undefined
let server: Embedded | undefined

/** Starts one PostgreSQL for all tests. It may forget everything, so it need not wait for the disk. */
export async function setup(project: TestProject): Promise<void> {
  await removeLeftovers()
  directory = await mkdtemp(join(tmpdir(), PREFIX))
  server = await startEmbedded(directory, {
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' },
  })
  const db = connect(server.url, { maxConnections: 1 })
  await db.query('create database template')
  await db.close()
  await migrate(server.url.replace('/postgres?', '/template?'))
  project.provide('databaseUrl', server.url)
}

export async function teardown(): Promise<void> {
  await server?.stop()
  if (directory) await rm(directory, { recursive: true })
}

/** Servers of test runs that were killed. */
async function removeLeftovers(): Promise<void> {
  const minuteAgo = Date.now() - 60_000
  for (const name of await readdir(tmpdir())) {
    const path = join(tmpdir(), name)
    if (!name.startsWith(PREFIX)) continue
    try {
      if ((await stat(path)).birthtimeMs > minuteAgo) continue // its owner may be about to lock it
      const owner = await ownDirectory(path, 0)
      const postmaster = await adoptPostmaster(join(path, 'postgres'))
      if (postmaster) await stopPostmaster(postmaster)
      await rm(path, { recursive: true, force: true })
      owner.release()
    } catch {
      continue // in use, or being removed by another run
    }
  }
}
