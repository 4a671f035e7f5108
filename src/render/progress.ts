/** What a thread is at. Its pool reads it while the thread is too busy to answer; the thread alone writes it. */
export type Progress = BigInt64Array<SharedArrayBuffer>

const JOB = 0
const BEGUN_AT = 1
const CPU_BEFORE = 2
const NOT_BEGUN = -1n

export const progressIn = (memory: SharedArrayBuffer): Progress => new BigInt64Array(memory)

export function newProgress(): Progress {
  const progress = progressIn(new SharedArrayBuffer(3 * BigInt64Array.BYTES_PER_ELEMENT))
  reset(progress)
  return progress
}

/** Before a list of jobs is given. */
export const reset = (progress: Progress): void => void Atomics.store(progress, JOB, NOT_BEGUN)

/** In the thread, before each job of the list. The number is written last and read first: the times are its own, or later. */
export function begin(progress: Progress, job: number): void {
  const { user, system } = process.threadCpuUsage()
  Atomics.store(progress, CPU_BEFORE, BigInt(user + system))
  Atomics.store(progress, BEGUN_AT, process.hrtime.bigint())
  Atomics.store(progress, JOB, BigInt(job))
}

/** Which job of its list the thread is at, for how long, and its processor time before; null: it has not begun. */
export function read(progress: Progress): { job: number; elapsedMs: number; cpuBeforeMs: number } | null {
  const job = Atomics.load(progress, JOB)
  if (job === NOT_BEGUN) return null
  const begunAt = Atomics.load(progress, BEGUN_AT)
  const cpuBefore = Atomics.load(progress, CPU_BEFORE)
  return {
    job: Number(job),
    elapsedMs: Number(process.hrtime.bigint() - begunAt) / 1e6,
    cpuBeforeMs: Number(cpuBefore) / 1000,
  }
}
