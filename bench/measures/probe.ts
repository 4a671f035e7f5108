import { monitorEventLoopDelay } from 'node:perf_hooks'
import pg from 'pg'
import { workedMs } from '../machine.ts'
import type { Numbers, Task } from './measure.ts'

const RESOLUTION_MS = 1
const NS_PER_MS = 1e6

/** Bytes of write-ahead log that PostgreSQL has written up to now; null for Redis. */
export type WalMeter = { position: () => Promise<number | null>; close: () => Promise<void> }

export async function walMeter({ contestant, url }: Task): Promise<WalMeter> {
  if (contestant.store !== 'postgres') return { position: async () => null, close: async () => {} }
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return {
    async position() {
      const { rows } = await client.query<{ bytes: string }>(`select pg_current_wal_insert_lsn() - '0/0' as bytes`)
      return Number(rows[0]?.bytes)
    },
    close: () => client.end(),
  }
}

/** Starts watching how long this process's event loop is kept from turning. */
export function watchEventLoop(): { stop: () => Numbers } {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  return {
    stop() {
      histogram.disable()
      return { loopP99Ms: delayMs(histogram.percentile(99)), loopMaxMs: delayMs(histogram.max) }
    },
  }
}

/** The histogram counts from timer to timer, so an idle loop shows the resolution. */
const delayMs = (ns: number): number => Math.max(0, ns / NS_PER_MS - RESOLUTION_MS)

/** Runs `work` on `count` jobs with the clock, the processors, the event loop and the log watched. */
export async function timed(task: Task, count: number, work: () => Promise<{ seconds: number }>): Promise<Numbers> {
  const wal = await walMeter(task)
  const before = await wal.position()
  const loop = watchEventLoop()
  const workedBeforeMs = workedMs()
  const { seconds } = await work()
  const cpuMicrosPerJob = (1000 * (workedMs() - workedBeforeMs)) / count
  const delays = loop.stop()
  const after = await wal.position()
  await wal.close()
  const walPerJob = before === null || after === null ? {} : { walBytesPerJob: (after - before) / count }
  return { perSecond: count / seconds, cpuMicrosPerJob, ...walPerJob, ...delays }
}

export const secondsSince = (start: bigint): number => Number(process.hrtime.bigint() - start) / 1e9
