import pg from 'pg'
import type { System } from '../systems/system.ts'
import { enqueueInBatches } from './enqueue.ts'
import type { Numbers, Task } from './measure.ts'
import { secondsSince } from './probe.ts'
import { analyze } from './process.ts'

const SLICES = 5

/**
 * The rate while another transaction, as an analytics query or a forgotten session does, keeps vacuum from removing
 * anything. A queue that steps over its dead rows gets slower slice by slice.
 */
export async function pinned(task: Task, system: System): Promise<Numbers> {
  const { pinned: count, pinnedRest, batchSize } = task.sizes
  await enqueueInBatches(system, count + pinnedRest, batchSize)
  await analyze(task, 'vacuum analyze')
  const pin = new pg.Client({ connectionString: task.url })
  await pin.connect()
  await pin.query('begin isolation level repeatable read')
  await pin.query('select txid_current()')

  const perSlice = count / SLICES
  const seconds: number[] = []
  const done = Promise.withResolvers<void>()
  let calls = 0
  let start = 0n
  const worker = await system.work(() => {
    if (calls++ === 0) start = process.hrtime.bigint()
    if (calls % perSlice !== 0 || seconds.length === SLICES) return
    seconds.push(secondsSince(start))
    start = process.hrtime.bigint()
    if (seconds.length === SLICES) done.resolve()
  })
  await done.promise
  await worker.stop()
  await pin.query('rollback')
  await pin.end()

  const rates = seconds.map((time) => perSlice / time)
  const slices = Object.fromEntries(rates.map((rate, index) => [`slice${index + 1}PerSecond`, rate]))
  return { ...slices, keptPercent: (100 * (rates.at(-1) ?? 0)) / (rates[0] ?? Infinity) }
}
