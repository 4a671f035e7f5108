import { setTimeout as sleep } from 'node:timers/promises'
import { runChild } from '../run-child.ts'
import { payload, type System } from '../systems/system.ts'
import { percentile } from '../statistics.ts'
import type { Numbers, Task } from './measure.ts'

/** One right after the other, so that code is compiled as in a process that has run for a while. */
const WARM_UP = 1000
/** Long enough for every system to be idle again, and not in step with anybody's poll. */
const pause = (): Promise<void> => sleep(20 + Math.random() * 40)

/** From the call that enqueues to the start of the handler in the same process, one job at a time. */
export const latency = (task: Task, system: System): Promise<Numbers> =>
  startTimes(task, system, () => enqueueSlowly(task, system))

/** The same with the enqueuing call in another process. */
export const wakeUp = (task: Task, system: System): Promise<Numbers> =>
  startTimes(task, system, async () => void (await runChild({ ...task, measure: 'enqueue-for-wake-up' })))

export async function enqueueSlowly({ sizes }: Task, system: System): Promise<Numbers> {
  for (let n = 0; n < sizes.samples + WARM_UP; n++) {
    await system.enqueueOne(payload(n))
    if (n >= WARM_UP) await pause()
  }
  return {}
}

async function startTimes({ sizes }: Task, system: System, enqueue: () => Promise<unknown>): Promise<Numbers> {
  const expected = sizes.samples + WARM_UP
  const all = Promise.withResolvers<void>()
  const milliseconds: number[] = []
  let calls = 0
  const worker = await system.work(({ n, at }) => {
    if (n >= WARM_UP) milliseconds.push(Number(process.hrtime.bigint() - BigInt(at)) / 1e6)
    if (++calls === expected) all.resolve()
  })
  await sleep(500) // listeners and first polls are over
  await enqueue()
  await all.promise
  await worker.stop()
  return { p50Ms: percentile(milliseconds, 50), p99Ms: percentile(milliseconds, 99) }
}
