import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../src/db/pool.ts'
import type { Db } from '../../src/db/db.ts'
import { client } from '../app.ts'
import { startServerProcess, type ServerProcess } from '../server-process.ts'
import { freePort } from '../free-port.ts'

/** What may be killed. The server holds the embedded database, the workers only use it. */
export type Victim = 'server' | 'worker 1' | 'worker 2' | 'database'

export const VICTIMS: readonly Victim[] = ['server', 'worker 1', 'worker 2', 'database']

/** The processes that send: those whose results a death of the database may lose. */
export const SENDERS = 3

export type Cluster = ReturnType<typeof client> & {
  /** Where the database is, for whoever wants to look into it. */
  databaseUrl: string
  db: Db
  /** Its process, once it is up; undefined while it is down. */
  pidOf: (victim: Victim) => number | undefined
  /** Kills it with SIGKILL, if it is up; resolves when it is dead. It is started again by itself. */
  kill: (victim: Victim) => Promise<boolean>
  /** Waits until everything is up. */
  settled: () => Promise<void>
  stop: () => Promise<void>
}

/**
 * EventCenter as a small company runs it: a server with the embedded database, and two workers beside it; whoever ends is
 * started again at once, as systemd does.
 */
export async function startCluster(directory: string, settings: Record<string, string>): Promise<Cluster> {
  const data = path.join(directory, 'data')
  const socket = path.join(data, 'socket')
  const databaseUrl = `postgres://eventcenter@/postgres?host=${encodeURIComponent(socket)}`
  const port = await freePort()
  const common = { ...settings, LOG_LEVEL: 'warn' }
  const members: Record<Exclude<Victim, 'database'>, Record<string, string>> = {
    server: { ...common, ROLES: 'api,scheduler,worker', DATABASE_URL: `embedded:${data}`, PORT: port },
    'worker 1': { ...common, ROLES: 'worker', DATABASE_URL: databaseUrl },
    'worker 2': { ...common, ROLES: 'worker', DATABASE_URL: databaseUrl },
  }
  const running = new Map<string, ServerProcess>()
  const stopping = new AbortController()

  async function keepRunning(name: string, env: Record<string, string>): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const started = await startServerProcess(env)
        const exit = once(started.process, 'exit')
        running.set(name, started)
        if (stopping.signal.aborted) started.process.kill('SIGTERM')
        if (started.process.exitCode === null && started.process.signalCode === null) await exit
        if (!stopping.signal.aborted && started.process.signalCode !== 'SIGKILL') {
          process.stdout.write(
            `${name} ended by itself (${started.process.exitCode}):\n${started.output().slice(-3000)}\n`,
          )
        }
      } catch {
        await sleep(100) // the database was away while it started
      } finally {
        running.delete(name)
      }
    }
  }

  const loops = [keepRunning('server', members.server)]
  while (!running.has('server')) await sleep(50)
  loops.push(keepRunning('worker 1', members['worker 1']), keepRunning('worker 2', members['worker 2']))
  const db = connect(databaseUrl, { maxConnections: 2, applicationName: 'test' })
  const pidOf = (victim: Victim): number | undefined =>
    victim === 'database' ? postmasterPid(data) : running.get(victim)?.process.pid

  const cluster: Cluster = {
    ...client(`http://127.0.0.1:${port}`),
    databaseUrl,
    db,
    pidOf,
    async kill(victim) {
      const pid = pidOf(victim)
      if (pid === undefined || !isAlive(pid)) return false
      process.kill(pid, 'SIGKILL')
      while (isAlive(pid)) await sleep(2)
      return true
    },
    async settled() {
      while (running.size < SENDERS || (await db.query('select 1').catch(() => [])).length === 0) await sleep(50)
    },
    async stop() {
      await db.close()
      stopping.abort()
      for (const name of ['worker 1', 'worker 2', 'server']) await running.get(name)?.end('SIGTERM')
      await Promise.all(loops)
    },
  }
  await cluster.settled()
  return cluster
}

function postmasterPid(data: string): number | undefined {
  try {
    return Number(readFileSync(path.join(data, 'postgres/postmaster.pid'), 'utf8').split('\n')[0]) || undefined
  } catch {
    return undefined
  }
}

/** Dead processes that nobody has buried yet still have a number. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
