import { payload, payloads, type System } from '../systems/system.ts'
import type { Numbers, Task } from './measure.ts'
import { secondsSince, timed } from './probe.ts'

/** Single enqueues by many callers at the same time, each waiting for its own answer. */
export async function single(task: Task, system: System): Promise<Numbers> {
  const { callers, singles, warmUp } = task.sizes
  await enqueueSingly(system, callers, warmUp)

  return timed(task, singles, async () => {
    const start = process.hrtime.bigint()
    await enqueueSingly(system, callers, singles)
    return { seconds: secondsSince(start) }
  })
}

/** Batches one after another. */
export async function batch(task: Task, system: System): Promise<Numbers> {
  const { batched, batchSize, warmUp } = task.sizes
  await enqueueInBatches(system, warmUp, batchSize)

  return timed(task, batched, async () => {
    const start = process.hrtime.bigint()
    await enqueueInBatches(system, batched, batchSize)
    return { seconds: secondsSince(start) }
  })
}

export async function enqueueInBatches(system: System, count: number, batchSize: number): Promise<void> {
  for (let done = 0; done < count; done += batchSize) {
    await system.enqueueMany(payloads(done, Math.min(batchSize, count - done)))
  }
}

async function enqueueSingly(system: System, callers: number, count: number): Promise<void> {
  let next = 0
  const call = async (): Promise<void> => {
    while (next < count) await system.enqueueOne(payload(next++))
  }
  await Promise.all(Array.from({ length: callers }, call))
}
