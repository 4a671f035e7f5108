/** One task (its only argument, JSON) in this process; the numbers go to the parent. */
import { batch, single } from './measures/enqueue.ts'
import { http, pipeline } from './measures/http.ts'
import { enqueueSlowly, latency, wakeUp } from './measures/latency.ts'
import type { Numbers, Task } from './measures/measure.ts'
import { pinned } from './measures/pinned.ts'
import { processJobs } from './measures/process.ts'
import { load } from './systems/all.ts'
import type { System } from './systems/system.ts'

const ON_SYSTEM: Partial<Record<Task['measure'], (task: Task, system: System) => Promise<Numbers>>> = {
  single,
  batch,
  process: processJobs,
  latency,
  'wake-up': wakeUp,
  'enqueue-for-wake-up': enqueueSlowly,
  pinned,
}

process.on('disconnect', () => process.exit(1)) // nobody is left to hear the numbers
const task = JSON.parse(process.argv[2] ?? '') as Task
process.send?.(await perform(task), () => process.exit(0))

async function perform(task: Task): Promise<Numbers> {
  if (task.measure === 'http') return http(task)
  if (task.measure === 'pipeline') return pipeline(task)

  const adapter = await load(task.contestant.adapter)
  if (task.measure === 'prepare') {
    await adapter.prepare?.(task.url)
    return {}
  }
  const system = await adapter.open({ url: task.url, settings: task.contestant.settings })
  const numbers = await ON_SYSTEM[task.measure]?.(task, system)
  await system.close()
  return numbers ?? {}
}
