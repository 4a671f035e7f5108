import { expect, suite, test } from 'vitest'
import type { Lane } from './event.ts'
import { alarmsOf, type QueueHealth } from './queue-health.ts'

const due = (lane: Lane, seconds: number) => ({ channel: 'email', lane, seconds })
const good: QueueHealth = {
  oldestTransactionSeconds: 300,
  oldestDue: [due('p2p', 60), due('retry', 300), due('broadcast', 3600)],
  stops: [],
  ready: 1_000_000,
  leased: 50,
  waiting: 0,
  deadLetters: { failed: 3, uncertain: 3 },
  deadTuples: { ready: 1_000_000 },
  partitionsMissing: 0,
  strayRows: 0,
}

suite('the health of a queue', () => {
  test('is good while everything keeps up, however much there is', () => {
    expect(alarmsOf(good)).toEqual([])
  })

  test.each<[Partial<QueueHealth>, string, RegExp]>([
    [{ oldestTransactionSeconds: 301 }, 'transaction', /open for 301 s/],
    [{ oldestDue: [due('p2p', 61)] }, 'queue', /channel email, lane p2p, waits for 61 s/],
    [{ oldestDue: [due('p2p', 0), due('retry', 301)] }, 'queue', /lane retry/],
    [{ oldestDue: [due('broadcast', 3601)] }, 'queue', /lane broadcast/],
    [{ deadTuples: { lease: 1_000_001 } }, 'vacuum', /lease has 1000001 dead rows/],
    [{ partitionsMissing: 3 }, 'partitions', /3 partitions/],
    [{ strayRows: 1 }, 'clock', /clocks/],
  ])('raises an alarm for %j', (change, name, text) => {
    expect(alarmsOf({ ...good, ...change })).toEqual([{ name, text: expect.stringMatching(text) }])
  })

  test('is not to blame for what waits because its provider takes nothing', () => {
    const stop = { account: 'email:1a2b3c4d', channel: 'email', seconds: 60, until: '2026-11-21T10:00:00.000Z' }
    const oldestDue = [due('p2p', 90), { ...due('p2p', 90), channel: 'ws' }]

    const alarms = alarmsOf({ ...good, oldestDue, stops: [stop] })

    expect(alarms.map(({ text }) => text)).toEqual([expect.stringContaining('channel ws')])
  })
})
