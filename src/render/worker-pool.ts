import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { AppError } from '../core/errors.ts'
import { TOO_MUCH_MEMORY, TOO_SLOW } from './limits.ts'
import { newProgress, read, reset, type Progress } from './progress.ts'
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

/** A thread gets as many jobs at a time as it should have done in so long: each turn of a busy process costs as much. */
const TOGETHER_MS = 5
const MAX_TOGETHER = 32
/** Of the threads' little memory. */
const MAX_TOGETHER_CHARACTERS = 256 * 1024
/** How much a new measure of the pace counts. */
const PACE_WEIGHT = 0.2

/** So many waiting jobs for each thread are worth another one. */
const WORTH_A_THREAD = 100

type Task = { job: RenderJob; resolve: (answer: RenderAnswer) => void; reject: (error: Error) => void }
type Thread = {
  worker: Worker
  isReady: boolean
  progress: Progress
  /** Given to it together; the first `answered` of them are over. */
  tasks: Task[]
  answered: number
  /** Why it ends, and because of which of its tasks. */
  verdict: Error | null
  guilty: Task | undefined
  /** Until the task it is at has taken too long, or it has been idle for too long. */
  timer: NodeJS.Timeout | undefined
}

/**
 * Threads that can be stopped from outside. A job that takes too long or too much memory ends its thread and fails; what
 * that thread was to do besides is done by another.
 */
export function workerPool({ size, maxWaiting, limitMs, idleSeconds, memoryMb }: PoolOptions): WorkerPool {
  const waiting: Task[] = []
  const threads = new Set<Thread>()
  /** How long a job has taken of late. Where they are slow, or are ended, each goes alone. */
  let paceMs = TOGETHER_MS
  let isClosed = false

  function dispatch(): void {
    for (const thread of threads) {
      if (thread.isReady && !thread.verdict && thread.tasks.length === 0 && waiting.length > 0) give(thread)
    }
    // A thread costs 30 MB and 0.1 s: as much as a hundred messages that wait.
    if (waiting.length > threads.size * WORTH_A_THREAD && threads.size < size) start()
  }

  function give(thread: Thread): void {
    thread.tasks = takeTogether()
    thread.answered = 0
    clearTimeout(thread.timer)
    thread.worker.ref()
    reset(thread.progress)
    const jobs = thread.tasks.map(({ job }) => job)
    thread.worker.postMessage(jobs, [])
    watch(thread, limitMs)
  }

  function takeTogether(): Task[] {
    // What one thread has, another cannot do.
    const share = Math.ceil(waiting.length / threads.size)
    const most = Math.min(MAX_TOGETHER, share, Math.max(1, Math.floor(TOGETHER_MS / paceMs)))
    let count = 0
    let characters = 0
    for (const { job } of waiting.slice(0, most)) {
      characters += charactersOf(job)
      if (count > 0 && characters > MAX_TOGETHER_CHARACTERS) break
      count += 1
    }
    return waiting.splice(0, count)
  }

  function start(): void {
    const progress = newProgress()
    const worker = new Worker(new URL('render-worker.ts', import.meta.url), {
      env: {}, // no secrets in there
      workerData: progress.buffer,
      execArgv: [],
      stdin: false,
      resourceLimits: { maxOldGenerationSizeMb: memoryMb, maxYoungGenerationSizeMb: 4, stackSizeMb: 4 },
    })
    const thread: Thread = {
      worker,
      isReady: false,
      progress,
      tasks: [],
      answered: 0,
      verdict: null,
      guilty: undefined,
      timer: undefined,
    }
    threads.add(thread)
    const startTimer = setTimeout(() => void worker.terminate(), START_LIMIT_MS)

    worker.on('message', (message: WorkerMessage) => {
      if ('ready' in message) {
        clearTimeout(startTimer)
        thread.isReady = true
        rest(thread)
        dispatch()
      } else finish(thread, message)
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

  function finish(thread: Thread, { answers, tookMs }: { answers: RenderAnswer[]; tookMs: number }): void {
    const done = thread.tasks.slice(thread.answered, thread.answered + answers.length)
    thread.answered += answers.length
    paceMs += PACE_WEIGHT * (tookMs / answers.length - paceMs)
    if (thread.answered === thread.tasks.length) {
      thread.tasks = []
      rest(thread)
      dispatch()
    }
    for (const [index, { resolve }] of done.entries()) resolve(answers[index] as RenderAnswer)
  }

  /** An idle thread keeps no process alive, and is not kept for ever. */
  function rest(thread: Thread): void {
    thread.worker.unref()
    clearTimeout(thread.timer)
    thread.timer = setTimeout(() => {
      if (thread.tasks.length > 0) return
      thread.verdict = new Error('nothing to do') // it gets nothing any more
      void thread.worker.terminate()
    }, idleSeconds * 1000).unref()
  }

  function lose(thread: Thread): void {
    threads.delete(thread)
    clearTimeout(thread.timer)
    const guilty = thread.guilty ?? thread.tasks[read(thread.progress)?.job ?? 0]
    const reason = thread.verdict ?? new TemplateError('invalid', 'the template stops the engine')
    if (guilty) paceMs = TOGETHER_MS
    guilty?.reject(reason)
    const others = thread.tasks.slice(thread.answered).filter((task) => task !== guilty)
    if (isClosed) for (const task of others) task.reject(reason)
    else waiting.unshift(...others)
    if (!thread.isReady) {
      // Another attempt would end the same way, and those who wait must not wait for ever.
      const error = new Error('The template engine does not start', { cause: thread.verdict })
      for (const task of waiting.splice(0)) task.reject(error)
    }
    if (!isClosed) dispatch()
  }

  function watch(thread: Thread, ms: number): void {
    thread.timer = setTimeout(() => void judge(thread), ms).unref()
  }

  async function judge(thread: Thread): Promise<void> {
    const { tasks } = thread
    await nextTurn() // the answers may be here already, behind a late timer
    const at = read(thread.progress)
    const isLate = at !== null && at.elapsedMs >= limitMs
    const isStarvedOnly =
      isLate && at.elapsedMs < STARVED_FACTOR * limitMs && (await isStarved(thread.worker, at.cpuBeforeMs, limitMs))
    if (thread.tasks !== tasks || !threads.has(thread)) return
    if (isLate && !isStarvedOnly && read(thread.progress)?.job === at.job) {
      thread.verdict = new TemplateError('timeout', TOO_SLOW)
      thread.guilty = tasks[at.job] // it may come to the next one yet
      await thread.worker.terminate()
    } else watch(thread, isLate || !at ? limitMs : limitMs - at.elapsedMs)
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

const charactersOf = (job: RenderJob): number =>
  job.source.subject.length + job.source.body.length + ('variables' in job ? job.variables.length : 0)

/** True when the thread has hardly had the processor, so that slowness is not its fault. */
async function isStarved(worker: Worker, cpuBeforeMs: number, limitMs: number): Promise<boolean> {
  const usage = await Promise.race([worker.cpuUsage().catch(() => null), sleep(CPU_ANSWER_MS, null, { ref: false })])
  return usage !== null && (usage.user + usage.system) / 1000 - cpuBeforeMs < limitMs * 0.75
}
