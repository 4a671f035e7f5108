import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { AppError } from '../core/errors.ts'
import { TOO_MUCH_MEMORY, TOO_SLOW } from './limits.ts'
import type { RenderAnswer, RenderJob, WorkerMessage } from './render-worker.ts'
import { TemplateError } from './renderer.ts'

export type PoolOptions = {
  /** Threads at most; they start when there is work and end when there has been none for `idleSeconds`. */
  size: number
  /** Jobs that may wait for a thread. */
  maxWaiting: number
  /** Of processor time, from the moment that the thread begins. */
  limitMs: number
  idleSeconds: number
  memoryMb: number
}

export type WorkerPool = { run(job: RenderJob): Promise<RenderAnswer>; close(): Promise<void> }

/** On a busy machine a thread may wait for the processor; it is given up for good after so many times its limit. */
const STARVED_FACTOR = 10
/** A thread that says nothing for so long is not working; it was never started, or is stuck in one long operation. */
const CPU_ANSWER_MS = 50
const START_LIMIT_MS = 10_000

/** So many waiting jobs for each thread are worth another one. */
const WORTH_A_THREAD = 100

type Task = { job: RenderJob; resolve: (answer: RenderAnswer) => void; reject: (error: Error) => void }
type Thread = {
  worker: Worker
  isReady: boolean
  task: Task | null
  /** Why it ends. */
  verdict: Error | null
  /** Until its task has taken too long, or it has been idle for too long. */
  timer: NodeJS.Timeout | undefined
}

/**
 * Threads that can be stopped from outside. A job that takes too long or too much memory ends its thread and fails; all
 * others are not touched, for a thread has one job at a time and the rest wait here.
 */
export function workerPool({ size, maxWaiting, limitMs, idleSeconds, memoryMb }: PoolOptions): WorkerPool {
  const waiting: Task[] = []
  const threads = new Set<Thread>()
  let isClosed = false

  function dispatch(): void {
    for (const thread of threads) {
      if (thread.isReady && !thread.task && waiting.length > 0) give(thread)
    }
    // A thread costs 30 MB and 0.1 s: as much as a hundred messages that wait.
    if (waiting.length > threads.size * WORTH_A_THREAD && threads.size < size) start()
  }

  function give(thread: Thread): void {
    const task = waiting.shift()
    if (!task) return
    thread.task = task
    clearTimeout(thread.timer)
    thread.worker.ref()
    thread.worker.postMessage(task.job, [])
  }

  function start(): void {
    const worker = new Worker(new URL('render-worker.ts', import.meta.url), {
      env: {}, // no secrets in there
      execArgv: [],
      stdin: false,
      resourceLimits: { maxOldGenerationSizeMb: memoryMb, maxYoungGenerationSizeMb: 4, stackSizeMb: 4 },
    })
    const thread: Thread = { worker, isReady: false, task: null, verdict: null, timer: undefined }
    threads.add(thread)
    const startTimer = setTimeout(() => void worker.terminate(), START_LIMIT_MS)

    worker.on('message', (message: WorkerMessage) => {
      if ('ready' in message) {
        clearTimeout(startTimer)
        thread.isReady = true
        rest(thread)
        dispatch()
      } else if ('started' in message) watch(thread, message.started)
      else finish(thread, message.answer)
    })
    worker.on('error', (error: NodeJS.ErrnoException) => {
      const isMemory = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      thread.verdict ??= isMemory ? new TemplateError('too-large', TOO_MUCH_MEMORY) : error
    })
    worker.on('exit', () => {
      clearTimeout(startTimer)
      lose(thread)
    })
  }

  function finish(thread: Thread, answer: RenderAnswer): void {
    const { task } = thread
    thread.task = null
    rest(thread)
    dispatch()
    task?.resolve(answer)
  }

  /** An idle thread keeps no process alive, and is not kept for ever. */
  function rest(thread: Thread): void {
    thread.worker.unref()
    clearTimeout(thread.timer)
    thread.timer = setTimeout(() => {
      if (!thread.task) void thread.worker.terminate()
    }, idleSeconds * 1000).unref()
  }

  function lose(thread: Thread): void {
    threads.delete(thread)
    clearTimeout(thread.timer)
    thread.task?.reject(thread.verdict ?? new TemplateError('invalid', 'the template stops the engine'))
    if (!thread.isReady) {
      // Another attempt would end the same way, and those who wait must not wait for ever.
      const error = new Error('The template engine does not start', { cause: thread.verdict })
      for (const task of waiting.splice(0)) task.reject(error)
    }
    if (!isClosed) dispatch()
  }

  function watch(thread: Thread, before: NodeJS.CpuUsage, round = 1): void {
    thread.timer = setTimeout(() => void judge(thread, before, round), limitMs).unref()
  }

  async function judge(thread: Thread, before: NodeJS.CpuUsage, round: number): Promise<void> {
    const { task } = thread
    await nextTurn() // the answer may be here already, behind a late timer
    const isStarvedOnly = round < STARVED_FACTOR && (await isStarved(thread.worker, before, limitMs))
    if (thread.task !== task || !threads.has(thread)) return
    if (isStarvedOnly) {
      watch(thread, before, round + 1)
      return
    }
    thread.verdict = new TemplateError('timeout', TOO_SLOW)
    await thread.worker.terminate()
  }

  return {
    run(job) {
      if (isClosed) return Promise.reject(new AppError('unavailable', 'The template engine is stopping'))
      if (waiting.length >= maxWaiting) {
        const message = 'Too many templates are waiting to be rendered'
        return Promise.reject(new AppError('unavailable', message, { retryAfterSeconds: 1 }))
      }
      return new Promise((resolve, reject) => {
        waiting.push({ job, resolve, reject })
        dispatch()
      })
    },
    async close() {
      isClosed = true
      const error = new AppError('unavailable', 'The template engine is stopping')
      for (const task of waiting.splice(0)) task.reject(error)
      for (const thread of threads) thread.verdict = error
      await Promise.all([...threads].map((thread) => thread.worker.terminate()))
    },
  }
}

/** True when the thread has hardly had the processor, so that slowness is not its fault. */
async function isStarved(worker: Worker, before: NodeJS.CpuUsage, limitMs: number): Promise<boolean> {
  const usage = await Promise.race([
    worker.cpuUsage(before).catch(() => null),
    sleep(CPU_ANSWER_MS, null, { ref: false }),
  ])
  return usage !== null && (usage.user + usage.system) / 1000 < limitMs * 0.75
}
