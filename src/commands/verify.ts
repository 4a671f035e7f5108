import { configOfProcess, type Config } from '../config.ts'
import { AppError } from '../core/errors.ts'
import type { Db, Queryable } from '../db/db.ts'
import { pendingMigrations } from '../db/migrate.ts'
import { connect } from '../db/pool.ts'
import { addViolations, checkInvariants, snapshot, type Finding, type Totals } from '../store/check-invariants.ts'
import {
  databaseTime,
  missingEvents,
  rowIdBefore,
  sentUntil,
  unaccountedCopies,
  type AnsweredEvent,
  type Received,
} from '../store/check-records.ts'
import { withDatabaseUrl } from './database.ts'
import { seconds } from './duration.ts'
import { inboxChannels } from './inbox-channels.ts'
import { print, visible } from './print.ts'
import { readAcceptedLogs, readReceiverLogs, type ReceiverLog } from './record-files.ts'

export type VerifyOptions = {
  receiverLog?: string[]
  complete?: string[]
  acceptedLog?: string[]
  since?: string
  json?: boolean
}

/** What `eventcenter verify --json` prints. */
export type Report = { ok: boolean; checked_at: string; totals: Totals; rules: Finding[] }

const LIMIT = 20
const PAGE_SIZE = 20_000
const CHUNK = 1000
const DAY_SECONDS = 86_400
/** For a page, or for the whole queue. What takes longer is told as an error, never as a success. */
const STATEMENT_SECONDS = 60

/** `eventcenter verify`: decides whether every invariant holds. Returns false when one does not. */
export async function verify(options: VerifyOptions): Promise<boolean> {
  if (options.complete && !options.receiverLog) {
    throw new AppError('invalid', '--complete says that receivers logged everything: it needs --receiver-log')
  }
  const config = configOfProcess()
  checkChannels(options.complete ?? [], Object.keys(config.channels))
  const report = await withDatabaseUrl(config, async (url) => {
    const pending = await pendingMigrations(url)
    if (pending.length > 0)
      throw new AppError('conflict', 'The tables are not of this version: run `eventcenter migrate`')
    const db = connect(url, {
      maxConnections: 1,
      statementTimeoutMs: STATEMENT_SECONDS * 1000,
      applicationName: 'eventcenter verify',
    })
    try {
      return await reportOf(db, config, options)
    } finally {
      await db.close()
    }
  })
  if (options.json) print(JSON.stringify(report))
  else for (const line of told(report)) print(line)
  return report.ok
}

/** Of a mistyped channel nothing was sent, and everything that was sent was received. */
function checkChannels(named: readonly string[], known: readonly string[]): void {
  const unknown = named.find((name) => !known.includes(name))
  if (unknown === undefined) return
  throw new AppError('invalid', `--complete: unknown channel "${visible(unknown)}"; known: ${known.join(', ')}`)
}

/**
 * The logs are read before the database: whatever they hold was begun by then, and its intent is in every later
 * snapshot. What was recorded as sent before they are read must be in a complete one.
 */
async function reportOf(db: Db, config: Config, options: VerifyOptions): Promise<Report> {
  const checkedAt = await databaseTime(db)
  const received = options.receiverLog && (await readReceiverLogs(options.receiverLog))
  const answered = options.acceptedLog && (await readAcceptedLogs(options.acceptedLog))
  const { RETENTION_DAYS_EVENTS: eventDays, RETENTION_DAYS_NOTIFICATIONS: notificationDays } = config
  const eventsAfterId = eventDays === 0 ? '0' : await rowIdBefore(db, eventDays * DAY_SECONDS)
  const afterId = options.since === undefined ? eventsAfterId : await rowIdBefore(db, seconds(options.since))
  const unseen = options.complete && finding('sent-was-received', 'What is recorded as sent, a receiver has')

  const { findings, totals } = await checkInvariants(db, {
    afterId,
    limit: LIMIT,
    pageSize: PAGE_SIZE,
    knowledge: { inboxChannels: await inboxChannels(config), eventsAfterId, notificationDays },
    async onDeliveries(page, tx) {
      if (!unseen || !received) return
      const sent = await sentUntil(tx, page, options.complete ?? [], checkedAt)
      const missing = sent.filter((id) => !received.copies.has(id))
      addViolations(
        unseen,
        missing.map((id) => ({ id, detail: 'in no log' })),
        LIMIT,
      )
    },
  })
  const rules = [
    ...findings,
    ...(received ? await checkReceived(db, received) : []),
    ...(unseen ? [unseen] : []),
    ...(answered ? [await checkAnswered(db, answered)] : []),
  ]
  return { ok: rules.every(({ violations }) => violations.length === 0), checked_at: checkedAt, totals, rules }
}

async function checkReceived(db: Db, { copies, strangers }: ReceiverLog): Promise<Finding[]> {
  const known = finding('received-is-known', 'Receivers got nothing that is not in our books')
  const once = finding('received-once', 'Receivers got nothing twice that we did not know to be uncertain')
  addViolations(
    known,
    strangers.map((id) => ({ id, detail: 'names no delivery' })),
    LIMIT,
  )
  const received = Array.from(copies, ([id, count]): Received => ({ id, copies: count }))
  await inChunks(db, received, async (tx, chunk) => {
    const { unknown, doubled } = await unaccountedCopies(tx, chunk)
    addViolations(known, unknown, LIMIT)
    addViolations(once, doubled, LIMIT)
  })
  return [known, once]
}

async function checkAnswered(db: Db, events: readonly AnsweredEvent[]): Promise<Finding> {
  const missing = finding('answered-is-stored', 'An event that was answered with 202 is stored as the answer said')
  await inChunks(db, events, async (tx, chunk) => addViolations(missing, await missingEvents(tx, chunk), LIMIT))
  return missing
}

async function inChunks<Item>(
  db: Db,
  items: readonly Item[],
  work: (tx: Queryable, chunk: Item[]) => Promise<void>,
): Promise<void> {
  for (let start = 0; start < items.length; start += CHUNK) {
    await snapshot(db, (tx) => work(tx, items.slice(start, start + CHUNK)))
  }
}

const finding = (name: string, says: string): Finding => ({ name, says, violations: [], hasMore: false })

function* told({ ok, totals, rules }: Report): Generator<string> {
  const { ready, uncertain, ...final } = totals.deliveries
  const finals = Object.values(final).reduce((sum, count) => sum + count, 0)
  const parts = Object.entries(final)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`)
  yield `${totals.events} events promised ${totals.promised} deliveries`
  yield `${finals} final${parts.length > 0 ? ` (${parts.join(', ')})` : ''}, ${ready} live, ${uncertain} uncertain`
  for (const { name, says, violations, hasMore } of rules) {
    yield `${violations.length === 0 ? 'ok    ' : 'BROKEN'}  ${name}: ${says}`
    for (const { id, detail } of violations) yield `          ${visible(id)}: ${visible(detail)}`
    if (hasMore) yield `          and more`
  }
  yield ok ? 'Every rule holds.' : 'Rules are broken: keep the database as it is, and report this.'
}
