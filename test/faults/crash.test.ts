import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, suite, test } from 'vitest'
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp-receiver.ts'
import { startCluster, VICTIMS, type Cluster, type Victim } from './cluster.ts'
import { startLoad } from './load.ts'
import { chooseSeed, oneOf, seededRandom } from './random.ts'
import { expectAllRulesToHold } from './verify.ts'

const USERS = 500
/** More than that does not wait: sending goes on while events come in. */
const MAX_BACKLOG = 1500
const CONCURRENCY = 20
/** First attempts and second ones have slots of their own. */
const IN_FLIGHT = CONCURRENCY * 2

suite('a cluster whose members are killed at random', () => {
  let directory: string
  let receiver: SmtpReceiver
  let cluster: Cluster | undefined

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-crash-'))
    await chmod(directory, 0o711) // PostgreSQL does not run as root
    receiver = await startSmtpReceiver(directory)
  })
  afterEach(async () => {
    await cluster?.stop()
    await receiver.stop()
    await rm(directory, { recursive: true })
  })

  test.each([
    {
      policy: 'resend',
      events: Number(process.env.CRASH_EVENTS ?? 20_000),
      kills: Number(process.env.CRASH_KILLS ?? 20),
    },
    {
      policy: 'hold',
      events: Number(process.env.CRASH_EVENTS ?? 20_000),
      kills: Number(process.env.CRASH_KILLS ?? 20),
    },
  ] as const)(
    'loses nothing of $events events in $kills kills, and doubles only what it knows to be uncertain: $policy',
    async ({ policy, events, kills }) => {
      const random = seededRandom(chooseSeed(`crash test, ${policy}`))
      const startedMs = performance.now()
      cluster = await startCluster(directory, {
        SMTP_URL: receiver.url,
        MAIL_FROM: 'news@example.com',
        EMAIL_UNCERTAIN: policy,
        LEASE_SECONDS: '5',
        UNCERTAIN_RESEND_SECONDS: '1',
        RETRY_SECONDS: '0,1,1,1,1,1,1,1',
        WORKER_CONCURRENCY: String(CONCURRENCY),
      })
      await createUsers(cluster)
      const acceptedLog = path.join(directory, 'accepted.jsonl')
      const received = (): number => receiver.received().length
      const loadMs = performance.now()

      const load = startLoad(cluster, {
        events,
        users: USERS,
        acceptedLog,
        random,
        callers: 8,
        mayGoOn: (accepted) => accepted - received() < MAX_BACKLOG,
      })
      const killed = killAtRandom(cluster, kills, random, () => (load.accepted() + received()) / (2 * events))
      await Promise.all([load.done, killed])
      await drained(cluster)

      const drainedMs = performance.now()
      const report = await expectAllRulesToHold(cluster.databaseUrl, {
        receiverLog: receiver.logFile,
        acceptedLog,
        complete: 'email',
      })
      const { sent, uncertain, ready } = report.totals.deliveries
      const duplicates = received() - new Set(receiver.received().map((line) => line.message_id)).size
      process.stdout.write(
        `crash test, ${policy}: ${events} events, killed ${(await killed).join(', ')}; ${sent} sent, ${uncertain} uncertain, ` +
          `${duplicates} duplicates; started in ${seconds(loadMs - startedMs)}, ran ${seconds(drainedMs - loadMs)}, ` +
          `verified in ${seconds(performance.now() - drainedMs)}\n`,
      )
      expect(report.totals.events).toBe(events)
      expect(ready).toBe(0)
      expect((await killed).length).toBe(kills)
      if (policy === 'hold') expect(duplicates).toBe(0)
      else expect(duplicates).toBeLessThanOrEqual(kills * IN_FLIGHT)
    },
    600_000,
  )
})

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

async function createUsers({ call }: Cluster): Promise<void> {
  const users = Array.from({ length: USERS }, (_, i) => ({ user_id: `user-${i}`, email: `user-${i}@example.com` }))
  const { status, body } = await call('POST', '/api/v1/users/batch', { users })
  if (status !== 200) throw new Error(`users: ${status} ${JSON.stringify(body)}`)
}

/** Kills at random parts of the whole work. Resolves with the victims, in order. */
async function killAtRandom(
  cluster: Cluster,
  kills: number,
  random: () => number,
  progress: () => number,
): Promise<Victim[]> {
  const plan = Array.from({ length: kills }, () => ({ at: 0.02 + random() * 0.93, victim: oneOf(random, VICTIMS) }))
  const killed: Victim[] = []
  for (const { at, victim } of plan.toSorted((a, b) => a.at - b.at)) {
    while (progress() < at) await sleep(5)
    while (!cluster.kill(victim)) await sleep(20) // it is being started again
    killed.push(victim)
  }
  return killed
}

/** Waits until nothing waits or is being sent any more. */
async function drained({ db }: Cluster): Promise<void> {
  for (;;) {
    const rows = await db.query('select from delivery where state = 0 limit 1').catch(() => null)
    if (rows?.length === 0) return
    await sleep(200)
  }
}
