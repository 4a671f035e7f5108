import type { Lane } from './event.ts'

/** A provider told us to wait: its account takes nothing until then. */
export type Stop = { account: string; channel: string; seconds: number; until: string }

/** What the database says of its own state and of the queue's. Ages in seconds; 0: there is none. */
export type QueueHealth = {
  /** Of any client of this database: while it is open, vacuum removes nothing that died since. */
  oldestTransactionSeconds: number
  /** How long the oldest due delivery of each channel and lane has been waiting. */
  oldestDue: { channel: string; lane: Lane; seconds: number }[]
  /** Accounts whose providers take nothing for now. */
  stops: Stop[]
  ready: number
  leased: number
  /** For their turn in a thread. */
  waiting: number
  deadLetters: { failed: number; uncertain: number }
  /** Rows that are gone and not yet removed, in the tables whose rows change most. */
  deadTuples: Record<string, number>
  /** Weekly partitions that should be there by now. */
  partitionsMissing: number
  /** Rows of weeks without a partition: some clock is wrong. */
  strayRows: number
}

export type Alarm = { name: 'transaction' | 'queue' | 'vacuum' | 'partitions' | 'clock'; text: string }

const MAX_TRANSACTION_SECONDS = 300
/** A broadcast waits for its throttle, and a retry for those before it; a message for one person waits for nobody. */
export const MAX_DUE_SECONDS: Record<Lane, number> = { p2p: 60, retry: 300, broadcast: 3600 }
const MAX_DEAD_TUPLES = 1_000_000

/** What somebody should look at, with what to do. */
export function alarmsOf(health: QueueHealth): Alarm[] {
  const alarms: Alarm[] = []
  const age = Math.round(health.oldestTransactionSeconds)
  if (age > MAX_TRANSACTION_SECONDS) {
    alarms.push({
      name: 'transaction',
      text: `a transaction is open for ${age} s, and vacuum waits for it: end it (pg_stat_activity, pg_prepared_xacts)`,
    })
  }
  for (const { channel, lane, seconds } of health.oldestDue) {
    const isStopped = health.stops.some((stop) => stop.channel === channel)
    if (isStopped || seconds <= MAX_DUE_SECONDS[lane]) continue
    const text = `the oldest due delivery of the channel ${channel}, lane ${lane}, waits for ${Math.round(seconds)} s: see that a worker has this channel; start more workers, or see why they are stuck`
    alarms.push({ name: 'queue', text })
  }
  for (const [table, count] of Object.entries(health.deadTuples)) {
    if (count <= MAX_DEAD_TUPLES) continue
    alarms.push({
      name: 'vacuum',
      text: `${table} has ${count} dead rows: see that autovacuum runs, and what it waits for`,
    })
  }
  if (health.partitionsMissing > 0) {
    const text = `${health.partitionsMissing} partitions are missing: see that a process with the role scheduler runs`
    alarms.push({ name: 'partitions', text })
  }
  if (health.strayRows > 0) {
    const text = `${health.strayRows} rows are of weeks without a partition: see that the clocks of all machines are right`
    alarms.push({ name: 'clock', text })
  }
  return alarms
}
