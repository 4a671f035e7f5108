import { statfs } from 'node:fs/promises'
import type { Channel, ChannelPorts } from '../channels/channel.ts'
import { openChannels } from '../channels/open.ts'
import { ConfigError, configOfProcess, type Config } from '../config.ts'
import { mask } from '../core/mask.ts'
import type { Db } from '../db/db.ts'
import { pendingMigrations } from '../db/migrate.ts'
import { connect } from '../db/pool.ts'
import { databaseHealth } from '../store/doctor.ts'
import { oldPartitions } from '../store/partitions.ts'
import { queueHealth } from '../store/queue-health.ts'
import { withDatabaseUrl } from './database.ts'
import { columns, print, visible } from './print.ts'
import { queueFindings, type Finding } from './queue-findings.ts'

const OLDEST_VERSION = 150_000
const MAX_SKEW_MS = 2000
/** A week ends, and the next turn of the scheduler comes, before an old partition is overdue. */
const RETENTION_SLACK_DAYS = 8
const MIN_FREE_BYTES = 512 * 1024 * 1024

/** `eventcenter doctor`: looks at everything a server needs. Returns false when there is any problem. */
export async function doctor(): Promise<boolean> {
  const findings: Finding[] = []
  for await (const finding of examine()) findings.push(finding)
  const rows = findings.map(({ name, problem, text }) => [problem ? 'PROBLEM' : 'ok', name, visible(mask(text))])
  for (const line of columns(rows)) print(line)
  return findings.every(({ problem }) => !problem)
}

async function* examine(): AsyncGenerator<Finding> {
  let config: Config
  try {
    config = configOfProcess()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const { name, message } of error.faults) yield bad('settings', `${name}: ${message}`)
    return
  }
  yield ok('settings', 'readable and consistent')
  yield* await diskSpace(config)
  yield* await database(config)
  yield* channels(config)
}

async function diskSpace({ DATA_DIR }: Config): Promise<Finding[]> {
  const disk = await statfs(DATA_DIR).catch(() => null)
  if (!disk) return [] // not started yet, or no data directory needed
  const free = disk.bavail * disk.bsize
  const text = `${Math.round(free / 1024 / 1024)} MB free for ${DATA_DIR}`
  return [free < MIN_FREE_BYTES ? bad('disk', `${text}: make room, or move the directory`) : ok('disk', text)]
}

async function database(config: Config): Promise<Finding[]> {
  try {
    return await withDatabaseUrl(config, async (url) => {
      const db = connect(url, { maxConnections: 1, applicationName: 'eventcenter doctor' })
      try {
        const pending = await pendingMigrations(url)
        const tables = pending.length === 0 ? ok('tables', 'of this version') : bad('tables', missing(pending))
        return [...(await server(db)), tables, ...(pending.length === 0 ? await queue(db, config) : [])]
      } finally {
        await db.close()
      }
    })
  } catch (error) {
    return [bad('database', `${messageOf(error)}. Check DATABASE_URL, and that the server runs`)]
  }
}

async function server(db: Db): Promise<Finding[]> {
  await databaseHealth(db) // a fresh connection would count as clock skew
  const before = Date.now()
  const { version, version_number, clock_ms } = await databaseHealth(db)
  const after = Date.now()
  const skewMs = Math.max(0, before - clock_ms, clock_ms - after)
  return [
    version_number >= OLDEST_VERSION
      ? ok('database', `PostgreSQL ${version}, answers in ${after - before} ms`)
      : bad('database', `PostgreSQL ${version} is too old: 15 or newer is needed`),
    skewMs <= MAX_SKEW_MS
      ? ok('clock', 'agrees with the database')
      : bad('clock', `differs from the database by ${(skewMs / 1000).toFixed(1)} s: synchronise both machines (NTP)`),
  ]
}

async function queue(db: Db, { RETENTION_DAYS_EVENTS: days }: Config): Promise<Finding[]> {
  const kept = days > 0 ? await oldPartitions(db, days + RETENTION_SLACK_DAYS) : []
  return queueFindings(
    await queueHealth(db),
    kept.map(({ name }) => name),
  )
}

/** Channels are opened only to be asked whether their provider answers: they cannot send from here. */
async function* channels(config: Config): AsyncGenerator<Finding> {
  let opened: ReadonlyMap<string, Channel>
  try {
    opened = openChannels(config.channels, NO_PORTS)
  } catch (error) {
    yield bad('channels', messageOf(error))
    return
  }
  for (const channel of opened.values()) {
    const { name } = channel
    try {
      if (!channel.check) continue
      await channel.check()
      yield ok(name, 'ready to send')
    } catch (error) {
      const names = Object.keys(config.channels[name] ?? {}).join(', ')
      yield bad(name, `${messageOf(error)}. Check ${names}, and that the provider can be reached from here`)
    } finally {
      await channel.close?.()
    }
  }
}

const refuse = (): Promise<never> => Promise.reject(new Error('The doctor sends nothing'))
const NO_PORTS: ChannelPorts = {
  bus: { publish: refuse, subscribe: refuse, check: refuse, close: async () => {} },
  mailOutbox: { keep: refuse },
}

const ok = (name: string, text: string): Finding => ({ name, problem: false, text })
const bad = (name: string, text: string): Finding => ({ name, problem: true, text })

const missing = (names: readonly string[]): string => `${names.join(', ')} not applied: run \`eventcenter migrate\``

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message.replace(/\.$/, '') : String(error)
