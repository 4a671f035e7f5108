import { pino } from 'pino'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { bury } from '../../test/dead-letters.ts'
import { logger } from '../log.ts'
import { metrics } from '../metrics.ts'
import { stopAccount } from '../store/account-bucket.ts'
import { queueWatch } from './watch-queue.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

suite('the watch over the queue', () => {
  test('shows its state in the metrics, and logs an alarm when it begins and when it is over', async () => {
    const { db } = database
    const lines: { alarm: string; level: string; reason?: string }[] = []
    const log = logger('info', { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[number]) })
    const gauges = metrics()
    const { turn } = queueWatch({ db, log, metrics: gauges })
    await bury(db, 2)
    await db.query(
      `insert into ready (channel, lane, priority, run_at, id) values (channel_number('email'), 0, 1, now() - interval '90 seconds', 1)`,
    )

    await stopAccount(db, { account: 'sms', channel: 'sms' }, 60)

    await turn()
    await turn()
    const text = await gauges.registry.metrics()
    await db.query('truncate ready')
    await turn()

    expect(text).toMatch(/^eventcenter_queued_deliveries\{state="ready"\} 1$/m)
    expect(text).toMatch(/^eventcenter_dead_letters\{kind="failed"\} 2$/m)
    expect(text).toMatch(/^eventcenter_oldest_due_seconds\{channel="email",lane="p2p"\} 9\d/m)
    expect(text).toMatch(/^eventcenter_oldest_due_seconds\{channel="email",lane="broadcast"\} 0$/m)
    expect(text).toMatch(/^eventcenter_dead_tuples\{table="ready"\} \d+$/m)
    expect(text).toMatch(/^eventcenter_account_stopped_seconds\{account="sms"\} (59|60)/m)
    expect(text).toMatch(/^eventcenter_partitions_missing 0$/m)
    expect(lines.map(({ alarm, level }) => [alarm, level])).toEqual([
      ['queue', 'warn'],
      ['queue', 'info'],
    ])
    expect(lines[0]?.reason).toMatch(/^the oldest due delivery of the channel email, lane p2p, waits for 9\d s/)
  })

  test('shows no old numbers while the database is away', async () => {
    const gauges = metrics()
    const { turn } = queueWatch({ db: database.db, log: pino({ level: 'silent' }), metrics: gauges })
    await turn()
    await database.db.query('alter table ready rename to ready_away')

    const failure = await turn().catch((error: unknown) => error)
    await database.db.query('alter table ready_away rename to ready')

    expect(failure).toBeInstanceOf(Error)
    const text = await gauges.registry.metrics()
    expect(text).not.toMatch(/^eventcenter_(oldest_due_seconds|queued_deliveries|dead_letters)\{/m)
    expect(text).toMatch(/^eventcenter_oldest_transaction_seconds Nan$/im)
  })
})
