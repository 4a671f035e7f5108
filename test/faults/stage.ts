import { appendFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'vitest'
import type { EventStatus } from '../../src/http/event-status-schema.ts'
import { eventually, type TestApp } from '../app.ts'
import type { FreshDatabase } from '../database.ts'
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp-receiver.ts'
import { startServerProcess, type ServerProcess } from '../server-process.ts'
import type { DatabaseServer } from './database-server.ts'
import { expectAllRulesToHold } from './verify.ts'

/** A database, a mail server, and processes between them that a test may do anything to. */
export type Stage = {
  database: FreshDatabase
  receiver: SmtpReceiver
  /** Starts a process with these roles. */
  start: (roles: string, settings?: Record<string, string>) => Promise<ServerProcess>
  /** Waits until every delivery of the event has this status, says the API that was started last; returns the first one. */
  ends: (eventId: string, status: string) => Promise<EventStatus['deliveries'][number]>
  /** Waits until a query gives so many rows. */
  untilRows: (count: number, sql: string, params?: readonly unknown[]) => Promise<void>
  /** Locks a table, as a careless migration does. Returns the function that lets go of it. */
  lock: (table: string, mode: 'access exclusive' | 'share row exclusive') => Promise<() => Promise<void>>
  /** Waits until a statement waits for a lock. */
  someoneWaits: () => Promise<void>
  /** Waits until no process is in the middle of a statement or a transaction, a dead one's included. */
  nobodyWorks: () => Promise<void>
  /** Fails unless every rule holds for the database, what was answered with 202, and what was received. */
  verify: () => Promise<void>
  /** Verifies, and ends everything. */
  close: () => Promise<void>
}

/** Short times, so that what comes after a fault comes soon. */
const SETTINGS = {
  MAIL_FROM: 'news@example.com',
  LEASE_SECONDS: '5',
  RETRY_SECONDS: '0,0,0',
  UNCERTAIN_RESEND_SECONDS: '0',
  LOG_LEVEL: 'warn',
}

/** Until what must happen has happened: leases end, processes start, and the machine has other things to do. */
export const PATIENCE_MS = 60_000

export async function openStage(databaseServer: DatabaseServer): Promise<Stage> {
  const directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-stage-'))
  const acceptedLog = path.join(directory, 'accepted.jsonl')
  writeFileSync(acceptedLog, '')
  const database = await databaseServer.fresh()
  const receiver = await startSmtpReceiver(directory)
  const processes: ServerProcess[] = []
  const apis: ServerProcess[] = []
  const unlocks: (() => Promise<void>)[] = []

  const stage: Stage = {
    database,
    receiver,
    async start(roles, settings = {}) {
      const started = await startServerProcess({
        DATABASE_URL: database.url,
        SMTP_URL: receiver.url,
        ...SETTINGS,
        ...settings,
        ROLES: roles,
      })
      processes.push(started)
      if (roles.includes('api')) apis.push(started)
      return { ...started, call: writingDown(started.call) }
    },
    ends: (eventId, status) =>
      eventually(
        async () => {
          const answer = await apis
            .at(-1)
            ?.call('GET', `/api/v1/events/${eventId}`)
            .catch(() => null)
          const deliveries = (answer?.body as EventStatus | undefined)?.deliveries ?? []
          const [first] = deliveries
          return first && deliveries.every((one) => one.status === status) ? first : null
        },
        `${eventId} to be ${status}`,
        PATIENCE_MS,
      ),
    untilRows: (count, sql, params) =>
      expect.poll(() => database.db.query(sql, params), { timeout: PATIENCE_MS }).toHaveLength(count),
    async lock(table, mode) {
      const taken = Promise.withResolvers<void>()
      const free = Promise.withResolvers<void>()
      const transaction = database.db.transaction(async (tx) => {
        await tx.query(`lock table ${table} in ${mode} mode`)
        taken.resolve()
        await free.promise
      })
      const unlock = async (): Promise<void> => {
        free.resolve()
        await transaction
      }
      unlocks.push(unlock)
      await Promise.race([taken.promise, transaction])
      return unlock
    },
    async someoneWaits() {
      await eventually(
        async () => ((await backends(`wait_event_type = 'Lock'`)) > 0 ? true : null),
        'a statement that waits',
        PATIENCE_MS,
      )
    },
    async nobodyWorks() {
      await eventually(
        async () => ((await backends(`state <> 'idle'`)) === 0 ? true : null),
        'the end of all statements',
        PATIENCE_MS,
      )
    },
    async verify() {
      await expectAllRulesToHold(database.url, { receiverLog: receiver.logFile, complete: 'email', acceptedLog })
    },
    async close() {
      for (const unlock of unlocks) await unlock()
      try {
        await stage.verify()
      } finally {
        await end()
      }
    },
  }
  return stage

  /** Notes what was answered with 202, as a careful sender of events does. */
  function writingDown(call: TestApp['call']): TestApp['call'] {
    return async (method, url, body, headers) => {
      const answer = await call(method, url, body, headers)
      if (method === 'POST' && answer.status === 202 && url.startsWith('/api/v1/events')) {
        for (const one of answer.body.events ?? [answer.body]) appendFileSync(acceptedLog, `${JSON.stringify(one)}\n`)
      }
      return answer
    }
  }

  /** How many others are connected to this database, and are so. */
  async function backends(how: string): Promise<number> {
    const rows = await database.db.query(
      `select from pg_stat_activity
       where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and ${how}`,
    )
    return rows.length
  }

  async function end(): Promise<void> {
    for (const { process: child } of processes) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    }
    await receiver.stop()
    await database.close()
    await rm(directory, { recursive: true })
  }
}
