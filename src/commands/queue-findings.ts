import { alarmsOf, type Alarm, type QueueHealth } from '../core/queue-health.ts'

/** One line of the report. A problem says what to do. */
export type Finding = { name: string; problem: boolean; text: string }

/** What the doctor says of the queue and of the tables under it. */
export function queueFindings(health: QueueHealth, keptPartitions: readonly string[]): Finding[] {
  const alarms = alarmsOf(health)
  const finding = (name: Alarm['name'], title: string, good: string): Finding[] => {
    const raised = alarms.filter((alarm) => alarm.name === name)
    if (raised.length === 0) return [{ name: title, problem: false, text: good }]
    return raised.map(({ text }) => ({ name: title, problem: true, text }))
  }
  const { ready, leased, deadLetters } = health
  const oldest = Math.round(Math.max(0, ...health.oldestDue.map(({ seconds }) => seconds)))
  const dead = Object.values(health.deadTuples).reduce((sum, count) => sum + count, 0)
  const kept = keptPartitions.join(', ')
  return [
    ...finding(
      'queue',
      'queue',
      ready + leased === 0
        ? 'nothing waits'
        : `${ready} wait, the oldest due one for ${oldest} s; ${leased} are being sent`,
    ),
    ...health.stops.map(({ account, channel, seconds, until }) => ({
      name: 'accounts',
      problem: true,
      text: `the provider of ${channel} (${account}) takes nothing until ${until}, for ${Math.ceil(seconds)} s: its deliveries wait; see the log for what it said, and give it less per second should that come again`,
    })),
    deadLetters.failed + deadLetters.uncertain === 0
      ? { name: 'dead letters', problem: false, text: 'none' }
      : {
          name: 'dead letters',
          problem: true,
          text: `${deadLetters.failed} failed, ${deadLetters.uncertain} uncertain: see GET /api/v1/dead-letters; send them again or drop them`,
        },
    ...finding(
      'transaction',
      'transactions',
      `the oldest is open for ${Math.round(health.oldestTransactionSeconds)} s`,
    ),
    ...finding('vacuum', 'vacuum', `keeps up: ${dead} dead rows in the busy tables`),
    ...finding('partitions', 'partitions', 'made ahead of time'),
    ...finding('clock', 'rows', 'all in the partition of their week'),
    ...(kept === ''
      ? []
      : [
          {
            name: 'retention',
            problem: true,
            text: `${kept} should be gone: deliveries in them still wait, see the dead letters`,
          },
        ]),
  ]
}
