import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, suite, test } from 'vitest'
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp-receiver.ts'
import { SENDERS, startCluster, VICTIMS, type Cluster, type Victim } from './cluster.ts'
import { unexplainedCopies } from './explain-copies.ts'
import { startLoad } from './load.ts'
import { chooseSeed, oneOf, seededRandom } from './random.ts'
import { strike, type Kill } from './strike.ts'
import { expectAllRulesToHold } from './verify.ts'

const EVENTS = Number(process.env.CRASH_EVENTS ?? 20_000)
const KILLS = Number(process.env.CRASH_KILLS ?? 20)
const STORM_EVENTS = 3000
const STORM_ROUNDS = 10

const USERS = 500
/** More than that does not wait: sending goes on while events come in. */
const MAX_BACKLOG = 1500
const CONCURRENCY = 20
/** First attempts and second ones have slots of their own. */
const IN_FLIGHT = CONCURRENCY * 2
/** Much longer than a lease and a resend. */
const STUCK_MS = 60_000

suite('a cluster', () => {
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

  test.each(['resend', 'hold'] as const)(
    `of which ${KILLS} members are killed loses nothing of ${EVENTS} events, and doubles only what the dead were sending: %s (F-10)`,
    async (policy) => {
      const { random, progress, underLoad, finish } = await start(`crash test, ${policy}`, policy, EVENTS)

      const kills = await underLoad(killAtRandom(cluster!, random, progress))

      const { copies } = await finish(kills)
      expect(kills).toHaveLength(KILLS)
      expect(kills.filter(({ held }) => held === 0)).toEqual([])
      if (policy === 'hold') expect(copies).toBe(0)
    },
    1_200_000,
  )

  test(`that is killed as a whole, again and again, loses nothing of ${STORM_EVENTS} events (F-08)`, async () => {
    const { random, progress, underLoad, finish } = await start('storm', 'resend', STORM_EVENTS)

    const kills = await underLoad(killAll(cluster!, random, progress))

    await finish(kills)
    expect(kills).toHaveLength(STORM_ROUNDS * VICTIMS.length)
  }, 600_000)

  /** Starts a cluster and the load on it; `finish` waits until all is over, and has every rule checked. */
  async function start(name: string, policy: 'resend' | 'hold', events: number) {
    const random = seededRandom(chooseSeed(name))
    const running = (cluster = await startCluster(directory, {
      SMTP_URL: receiver.url,
      MAIL_FROM: 'news@example.com',
      EMAIL_UNCERTAIN: policy,
      LEASE_SECONDS: '5',
      UNCERTAIN_RESEND_SECONDS: '1',
      RETRY_SECONDS: '0,1,1,1,1,1,1,1',
      WORKER_CONCURRENCY: String(CONCURRENCY),
    }))
    await createUsers(running)
    const acceptedLog = path.join(directory, 'accepted.jsonl')
    const startedMs = performance.now()
    let isOver = false
    const load = startLoad(running, {
      events,
      users: USERS,
      acceptedLog,
      random,
      callers: 8,
      mayGoOn: (accepted) => accepted - receiver.received().length < MAX_BACKLOG,
      mayEnd: () => isOver, // whoever is to be killed must have something to do
    })

    async function finish(kills: readonly Kill[]) {
      isOver = true
      await load.done
      await drained(running)
      const drainedMs = performance.now()
      const { totals } = await expectAllRulesToHold(running.databaseUrl, {
        receiverLog: receiver.logFile,
        acceptedLog,
        complete: 'email',
      })
      const { deliveries } = totals
      const mails = receiver.received()
      const copies = mails.length - new Set(mails.map((mail) => mail.message_id)).size
      process.stdout.write(
        `${name}: ${totals.events} events in ${seconds(drainedMs - startedMs)}; killed ${told(kills)}; ` +
          `${deliveries.sent} sent, ${deliveries.uncertain} uncertain, ${deliveries.failed} failed, ${copies} copies; ` +
          `verified in ${seconds(performance.now() - drainedMs)}\n`,
      )
      expect(totals.events).toBe(load.accepted())
      expect(totals.events).toBeGreaterThanOrEqual(events)
      expect(deliveries.ready).toBe(0)
      const causes = kills.map(causeOf)
      const inFlight = causes.reduce((sum, { atMost }) => sum + atMost, 0)
      expect(deliveries.uncertain).toBeLessThanOrEqual(policy === 'hold' ? inFlight : 0)
      // Whoever was in the middle of being sent at three deaths looks like their cause.
      expect(await running.db.query('select id from delivery where state = 4 and crashes < 3')).toEqual([])
      expect(unexplainedCopies(mails, causes)).toEqual([])
      return { copies }
    }
    /** How much of the work is done: accepted, and sent. */
    const progress = (): number => (load.accepted() + receiver.received().length) / (2 * events)
    /** Its result, unless the load meets what it must not meet. */
    const underLoad = <Result>(work: Promise<Result>) => Promise.race([work, load.done.then(() => work)])
    return { random, progress, underLoad, finish }
  }
})

/** With the database, every sender may lose what it was about to record. */
const causeOf = ({ victim, at, held }: Kill) => ({
  at,
  atMost: victim === 'database' ? SENDERS * IN_FLIGHT : Math.min(held, IN_FLIGHT),
})

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const told = (kills: readonly Kill[]): string =>
  kills.map(({ victim, held }) => (held === Infinity ? victim : `${victim} (${held} in flight)`)).join(', ')

async function createUsers({ call }: Cluster): Promise<void> {
  const users = Array.from({ length: USERS }, (_, i) => ({ user_id: `user-${i}`, email: `user-${i}@example.com` }))
  const { status, body } = await call('POST', '/api/v1/users/batch', { users })
  if (status !== 200) throw new Error(`users: ${status} ${JSON.stringify(body)}`)
}

/** Kills at random parts of the whole work, in the middle of something. Resolves with the deaths, in order. */
async function killAtRandom(cluster: Cluster, random: () => number, progress: () => number): Promise<Kill[]> {
  const plan = Array.from({ length: KILLS }, () => ({ after: 0.02 + random() * 0.93, victim: oneOf(random, VICTIMS) }))
  const kills: Kill[] = []
  for (const { after, victim } of plan.toSorted((a, b) => a.after - b.after)) {
    while (progress() < after) await sleep(5)
    kills.push(await strike(cluster, victim))
  }
  return kills
}

/** Kills all members at once, again and again, whenever they are all up and have done another part of the work. */
async function killAll(cluster: Cluster, random: () => number, progress: () => number): Promise<Kill[]> {
  const kills: Kill[] = []
  for (let round = 0; round < STORM_ROUNDS; round++) {
    const after = (round + 0.95 * random()) / STORM_ROUNDS
    await cluster.settled()
    while (progress() < after) await sleep(5)
    for (const victim of shuffled(random, VICTIMS)) {
      const at = new Date()
      if (await cluster.kill(victim)) kills.push({ victim, at, held: Infinity })
    }
  }
  return kills
}

/** By numbers drawn first: how often a sort compares is nobody's business. */
const shuffled = (random: () => number, victims: readonly Victim[]): Victim[] =>
  victims
    .map((victim) => ({ victim, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ victim }) => victim)

/** Waits until nothing waits or is being sent any more, or until nothing moves: then it is for the rules to say why. */
async function drained({ db }: Cluster): Promise<void> {
  let last = { live: -1, sinceMs: performance.now() }
  for (;;) {
    const [row] = await db
      .query<{ live: number }>('select count(*)::integer as live from delivery where state = 0')
      .catch(() => [])
    if (row?.live === 0) return
    if (row && row.live !== last.live) last = { live: row.live, sinceMs: performance.now() }
    if (performance.now() - last.sinceMs > STUCK_MS) return
    await sleep(200)
  }
}
