import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startEmbedded } from '../../src/db/embedded.ts'
import { migrate } from '../../src/db/migrate.ts'
import { connect } from '../../src/db/pool.ts'
import type { FreshDatabase } from '../database.ts'
import { startPostgres15 } from '../postgres-15.ts'

/** What EventCenter is run over: a server of its own, of the oldest version that we promise; and the one that comes along. */
export const DATABASE_SERVERS = ['PostgreSQL 15', 'the embedded PostgreSQL'] as const

export type DatabaseServer = {
  /** A database with the tables and no rows. */
  fresh: () => Promise<FreshDatabase>
  stop: () => Promise<void>
}

export async function startDatabaseServer(kind: (typeof DATABASE_SERVERS)[number]): Promise<DatabaseServer> {
  const { url, stop } = kind === 'PostgreSQL 15' ? await startPostgres15() : await startEmbeddedServer()
  const urlOf = (name: string): string => url.replace('/postgres?', `/${name}?`)
  await onServer('create database template')
  await migrate(urlOf('template'))

  return {
    async fresh() {
      const name = `fault_${randomUUID().replaceAll('-', '')}`
      await onServer(`create database ${name} template template`)
      const db = connect(urlOf(name), { maxConnections: 4, applicationName: 'test' })
      return {
        db,
        url: urlOf(name),
        async close() {
          await db.close()
          await onServer(`drop database ${name} with (force)`)
        },
      }
    },
    stop,
  }

  async function onServer(sql: string): Promise<void> {
    const db = connect(url, { maxConnections: 1, statementTimeoutMs: 60_000 })
    await db.query(sql)
    await db.close()
  }
}

async function startEmbeddedServer(): Promise<{ url: string; stop: () => Promise<void> }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-fault-'))
  await chmod(directory, 0o711) // PostgreSQL does not run as root
  const server = await startEmbedded(directory)
  return {
    url: server.url,
    async stop() {
      await server.stop()
      await rm(directory, { recursive: true })
    },
  }
}
