import { fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import type { Numbers, Task } from './measures/measure.ts'

const LIMIT_MS = 300_000

/** Runs one task in a process of its own, so that nobody's garbage or compiled code helps or hurts another. */
export async function runChild(task: Task): Promise<Numbers> {
  const child = fork(path.join(import.meta.dirname, 'child.ts'), [JSON.stringify(task)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  let numbers: Numbers | undefined
  child.once('message', (message) => (numbers = message as Numbers))
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  clearTimeout(timer)
  if (!numbers || code !== 0) throw new Error(`${task.contestant.id}, ${task.measure}: ended with ${code ?? signal}`)
  return numbers
}
