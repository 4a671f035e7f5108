import { expect, suite, test } from 'vitest'
import type { Lane } from '../core/event.ts'
import type { QueueHealth } from '../core/queue-health.ts'
import { queueFindings } from './queue-findings.ts'

const due = (lane: Lane, seconds: number) => ({ channel: 'email', lane, seconds })
const good: QueueHealth = {
  oldestTransactionSeconds: 2.4,
  oldestDue: [due('p2p', 0.2), due('retry', 12.4)],
  stops: [],
  ready: 40,
  leased: 7,
  waiting: 0,
  deadLetters: { failed: 0, uncertain: 0 },
  deadTuples: { ready: 5, lease: 6 },
  partitionsMissing: 0,
  strayRows: 0,
}
const problems = (change: Partial<QueueHealth>, kept: string[] = []) =>
  queueFindings({ ...good, ...change }, kept).flatMap(({ name, problem }) => (problem ? [name] : []))

suite("the doctor's word on the queue", () => {
  test('says how much there is where all is well', () => {
    const findings = queueFindings(good, [])

    expect(findings.filter(({ problem }) => problem)).toEqual([])
    expect(findings.map(({ text }) => text)).toEqual(
      expect.arrayContaining([
        '40 wait, the oldest due one for 12 s; 7 are being sent',
        'the oldest is open for 2 s',
        'keeps up: 11 dead rows in the busy tables',
      ]),
    )
  })

  test('names each problem once', () => {
    expect(problems({ deadLetters: { failed: 1, uncertain: 0 } })).toEqual(['dead letters'])
    expect(problems({ oldestTransactionSeconds: 400 })).toEqual(['transactions'])
    expect(problems({ deadTuples: { ready: 2e6 } })).toEqual(['vacuum'])
    expect(problems({ partitionsMissing: 1 })).toEqual(['partitions'])
    expect(problems({ strayRows: 1 })).toEqual(['rows'])
    expect(problems({}, ['event_20260105'])).toEqual(['retention'])
    expect(problems({ oldestDue: [due('p2p', 99), due('retry', 999)] })).toEqual(['queue', 'queue'])
  })

  test('says which account is stopped, and until when', () => {
    const stop = { account: 'email:1a2b3c4d', channel: 'email', seconds: 59.3, until: '2026-11-21T10:00:00.000Z' }

    const findings = queueFindings({ ...good, stops: [stop] }, []).filter(({ problem }) => problem)

    expect(findings).toEqual([
      {
        name: 'accounts',
        problem: true,
        text: expect.stringMatching(/email \(email:1a2b3c4d\) takes nothing until 2026-11-21T10:00:00.000Z, for 60 s/),
      },
    ])
  })
})
