import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { System } from '../systems/system.ts'
import { enqueueInBatches } from './enqueue.ts'
import type { Numbers, Task } from './measure.ts'
import { secondsSince, timed } from './probe.ts'

/** From the first handler's start, so that starting workers does not count, until the last outcome is recorded. */
export async function processJobs(task: Task, system: System): Promise<Numbers> {
  const { processed, warmUp, batchSize } = task.sizes
  await enqueueInBatches(system, warmUp, batchSize)
  await drain(system, warmUp)
  await enqueueInBatches(system, processed, batchSize)
  await analyze(task)

  return timed(task, processed, () => drain(system, processed))
}

async function drain(system: System, count: number): Promise<{ seconds: number }> {
  const handled = Promise.withResolvers<void>()
  let start = 0n
  let calls = 0
  const worker = await system.work(() => {
    if (calls++ === 0) start = process.hrtime.bigint()
    if (calls === count) handled.resolve()
  })
  await handled.promise
  while (!(await system.isDrained())) await sleep(1)
  const seconds = secondsSince(start)
  await worker.stop()
  if (calls !== count) throw new Error(`${calls} calls of handlers for ${count} jobs`)
  return { seconds }
}

/** Fresh tables have no statistics until autovacuum comes by; no system should depend on when it does. */
export async function analyze({ contestant, url }: Task, command = 'analyze'): Promise<void> {
  if (contestant.store !== 'postgres') return
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(command)
  await client.end()
}
