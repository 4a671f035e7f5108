import type { Logger } from 'pino'
import { heedingChannels } from './accounts/heeding-channel.ts'
import { providerAccounts } from './accounts/provider-accounts.ts'
import { memoryBus } from './bus/memory.ts'
import { postgresBus } from './bus/postgres.ts'
import { all } from './channels/all.ts'
import type { ChannelDefinition } from './channels/channel.ts'
import { openChannels } from './channels/open.ts'
import type { Config } from './config.ts'
import { apiKeyHash, apiKeyId } from './core/api-key.ts'
import { idGenerator } from './core/id.ts'
import { oneAtATime } from './core/one-at-a-time.ts'
import { SCOPES } from './core/scope.ts'
import { startEmbedded } from './db/embedded.ts'
import { migrate } from './db/migrate.ts'
import { connect } from './db/pool.ts'
import { databaseDirectory } from './directory/database.ts'
import type { Readiness } from './http/ready.ts'
import { metrics as openMetrics } from './metrics.ts'
import { deliver } from './pipeline/deliver.ts'
import { importCatalog } from './pipeline/import-catalog.ts'
import { continueReplays } from './pipeline/replay.ts'
import { retention, type RetentionDays } from './pipeline/retention.ts'
import { startScheduler, type Chore } from './pipeline/scheduler.ts'
import { wakeSnoozed } from './pipeline/snooze.ts'
import { leaseSweep } from './pipeline/sweep.ts'
import { queueWatch } from './pipeline/watch-queue.ts'
import { withdrawWaiting } from './pipeline/withdraw.ts'
import { startWorker, type Worker } from './pipeline/worker.ts'
import type { Ports } from './ports.ts'
import { processNumber, type ProcessNumber } from './process-number.ts'
import { postgresQueue } from './queue/postgres.ts'
import { liquidRenderer } from './render/liquid-renderer.ts'
import { secretsOf } from './secrets.ts'
import { embeddedDirectory } from './settings.ts'
import { insertApiKey } from './store/api-key.ts'
import { coalescedAccepts } from './store/coalesced-accepts.ts'
import { eventTypes } from './store/event-types.ts'
import { findUser, putUsers } from './store/directory-user.ts'
import { NO_INSTANT_LANE } from './store/instant-claims.ts'
import { mailOutbox } from './store/outbox-mail.ts'
import { createPartitions } from './store/partitions.ts'
import { startWeb } from './web.ts'

export type App = {
  /** Where it listens, for this machine. */
  url: string
  /** The data directory was new. */
  firstStart: boolean
  /** The first API key, while its file is there. */
  apiKey?: string
  /** Drains: takes nothing new, ends what is in progress within SHUTDOWN_SECONDS, gives back the rest. */
  close: () => Promise<void>
}

export type AppOptions = { log: Logger; channels?: readonly ChannelDefinition[] }

/** Longer than any provider's own timeout, so that a send that is given up is really over. */
const SEND_TIMEOUT_SECONDS = 60
const BATCH_SIZE = 50
/** Even when the time for draining is used up, a part gets this long to stop. */
const MIN_CLOSE_SECONDS = 1

/** Closes one part within the seconds that are left of the shutdown. */
type Closer = (seconds: number) => Promise<unknown>

/**
 * The composition root: opens every adapter, hands the ports to the steps, and starts the roles that the configuration
 * names. What was opened is closed in reverse, also when a later part fails to start.
 */
export async function startApp(config: Config, { log, channels: definitions = all }: AppOptions): Promise<App> {
  const closers: Closer[] = []
  const close = async (): Promise<void> => {
    const endsAt = Date.now() + config.SHUTDOWN_SECONDS * 1000
    for (const closer of closers.splice(0).toReversed()) {
      await closer(Math.max(MIN_CLOSE_SECONDS, (endsAt - Date.now()) / 1000)).catch((error: unknown) =>
        log.error({ err: error }, 'closing a part failed'),
      )
    }
  }

  try {
    const secrets = await secretsOf(config)
    const { url: databaseUrl, isEmbedded } = await openDatabase(config, log, closers)
    const db = connect(databaseUrl, {
      maxConnections: 10,
      applicationName: 'eventcenter',
      onError: (error) => log.warn({ err: error }, 'an idle database connection was lost'),
    })
    closers.push(() => db.close())
    await createPartitions(db)

    const number = await processNumber(db, config.ROLES)
    closers.push(() => number.free())
    const nextId = idGenerator(number.current)

    const metrics = openMetrics()
    // Without a server, this process is the only one; with one, others may run the gateway or the workers.
    const bus = isEmbedded ? memoryBus() : postgresBus(db)
    closers.push(() => bus.close())
    const renderer = liquidRenderer()
    closers.push(() => renderer.close())
    const channelPorts = { bus, mailOutbox: mailOutbox(db) }
    const channels = openChannels(config.channels, channelPorts, config.RETRY_SECONDS, definitions)
    closers.push(() => closeChannels(channels))
    const queue = postgresQueue({
      db,
      nextId,
      workerId: number.processId,
      leaseSeconds: config.LEASE_SECONDS,
      resendAfterSeconds: config.UNCERTAIN_RESEND_SECONDS,
      isShared: !isEmbedded,
    })
    closers.push(() => queue.close())
    const directory = databaseDirectory(db)
    const types = eventTypes({ db })
    const ports: Ports = { db, queue, bus, directory, channels, eventTypes: types, renderer, nextId, metrics, log }

    if (secrets.apiKey !== undefined) await registerFirstKey(ports, secrets.apiKey)
    await importCatalog(ports, config.CATALOG)
    if (config.DEMO) await createDemoUser(ports)

    const checks: Readiness[] = [
      { name: 'database', check: async () => void (await db.query('select 1')) },
      { name: 'queue', check: () => queue.check() },
      { name: 'bus', check: () => bus.check() },
    ]
    const address = { url: '' }
    const publicUrl = (): string => config.PUBLIC_URL ?? address.url
    closers.push(startChores(ports, config, number))
    const worker = config.ROLES.includes('worker') ? runWorker(ports, config, publicUrl, isEmbedded) : null
    if (worker) {
      checks.push({ name: 'worker', check: () => worker.check() })
      closers.push((seconds) => worker.stop(seconds))
    }
    const newLease = () => ({ leaseId: nextId(), workerId: number.processId, leaseSeconds: config.LEASE_SECONDS })
    const accepts = coalescedAccepts(db, queue, { ...(worker?.instant ?? NO_INSTANT_LANE), newLease })
    const web = await startWeb({ ...ports, accepts }, config, secrets, checks)
    address.url = web.url
    // Closed first, and in half of the time: nothing new comes in while the workers end what they have.
    closers.push((seconds) => web.close(seconds / 2))

    return {
      url: web.url,
      firstStart: secrets.isFirstStart,
      ...(secrets.apiKey !== undefined && { apiKey: secrets.apiKey }),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function openDatabase(
  config: Config,
  log: Logger,
  closers: Closer[],
): Promise<{ url: string; isEmbedded: boolean }> {
  const directory = embeddedDirectory(config.DATABASE_URL)
  let url = config.DATABASE_URL
  if (directory !== null) {
    const embedded = await startEmbedded(directory, { log })
    closers.push(() => embedded.stop())
    url = embedded.url
    if (embedded.adopted) log.warn('found the database still running after a sudden end, and went on with it')
  }
  const { applied } = await migrate(url)
  if (applied.length > 0) log.info({ applied }, 'database migrated')
  return { url, isEmbedded: directory !== null }
}

function startChores(ports: Ports, config: Config, number: ProcessNumber): () => Promise<void> {
  const { ROLES, LEASE_SECONDS } = config
  const own: Chore[] = [{ name: 'process number', everyMs: 20_000, run: () => number.renew() }]
  const shared: Chore[] = [
    { name: 'leases', everyMs: Math.min(5000, LEASE_SECONDS * 250), run: leaseSweep(ports).turn },
    { name: 'snoozed', everyMs: 5000, run: () => wakeSnoozed(ports) },
    { name: 'withdrawals', everyMs: 1000, run: () => withdrawWaiting(ports) },
    { name: 'replays', everyMs: 1000, run: () => continueReplays(ports) },
    { name: 'retention', everyMs: 600_000, run: retention(ports, retentionDays(config)).turn },
    { name: 'queue watch', everyMs: 15_000, run: queueWatch(ports).turn },
  ]
  const scheduler = startScheduler(ports.log, ROLES.includes('scheduler') ? [...own, ...shared] : own)
  return () => scheduler.stop()
}

const retentionDays = (config: Config): RetentionDays => ({
  events: config.RETENTION_DAYS_EVENTS,
  notifications: config.RETENTION_DAYS_NOTIFICATIONS,
  idempotencyKeys: config.RETENTION_DAYS_IDEMPOTENCY_KEYS,
  deadLetters: config.RETENTION_DAYS_DEAD_LETTERS,
})

function runWorker(ports: Ports, config: Config, publicUrl: () => string, isEmbedded: boolean): Worker {
  const limits = { reservePercent: config.P2P_RESERVE_PERCENT, isShared: !isEmbedded }
  const accounts = providerAccounts(ports, limits)
  const channels = heedingChannels(ports.channels, accounts)
  const options = {
    defaultLocale: config.DEFAULT_LOCALE,
    publicUrl,
    leaseSeconds: config.LEASE_SECONDS,
    sendTimeoutSeconds: SEND_TIMEOUT_SECONDS,
    uncertainResendSeconds: config.UNCERTAIN_RESEND_SECONDS,
    alone: oneAtATime(),
  }
  const settings = { slots: config.WORKER_CONCURRENCY, batchSize: BATCH_SIZE, throttle: accounts }
  const worker = startWorker(ports, settings, (claim, signal, hands) => {
    const { channel, lane } = claim
    const onUnsent = (): void => accounts.giveBack({ channel, lane, count: 1 })
    return deliver({ ...ports, channels: channels[lane] }, { ...options, onUnsent }, claim, signal, hands)
  })
  const stop: Worker['stop'] = async (seconds) => {
    await worker.stop(seconds)
    await accounts.close()
  }
  return { ...worker, stop }
}

async function closeChannels(channels: Ports['channels']): Promise<void> {
  await Promise.all([...channels.values()].map(async (channel) => channel.close?.()))
}

/** The key that the first start printed is a key like any other: it is stored by its hash and can be revoked. */
async function registerFirstKey({ db }: Ports, key: string): Promise<void> {
  const id = apiKeyId(key)
  if (id !== null) await insertApiKey(db, { id, hash: apiKeyHash(key), name: 'first key', scopes: SCOPES })
}

/** Somebody to write to, with an address for every channel that takes one such as his. */
async function createDemoUser({ db, channels }: Ports): Promise<void> {
  if (await findUser(db, '', DEMO_USER.id)) return
  const names = [...channels.values()]
    .filter((channel) => channel.parseAddress?.(DEMO_USER.address))
    .map(({ name }) => name)
  const addresses = Object.fromEntries(names.map((name) => [name, [DEMO_USER.address]]))
  await putUsers(db, '', [{ user_id: DEMO_USER.id, profile: { name: 'Demo' }, addresses }])
}

const DEMO_USER = { id: 'demo', address: 'demo@example.com' }
