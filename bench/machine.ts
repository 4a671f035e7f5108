import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { cpus, loadavg, release, totalmem, type CpuInfo } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const SAMPLE_MS = 1000

export type Machine = {
  cpu: string
  cores: number
  memoryGiB: number
  kernel: string
  node: string
  syncsPerSecond: number
}

/** `directory` is on the disk that the databases use. */
export const machine = (directory: string): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.version,
  syncsPerSecond: syncsPerSecond(directory),
})

/** How busy the machine is while we do nothing: what others do to the numbers that follow. */
export async function othersWork(): Promise<{ busyPercent: number; load: number }> {
  const before = times(cpus())
  await sleep(SAMPLE_MS)
  const after = times(cpus())
  const busyPercent = (100 * (after.busy - before.busy)) / (after.total - before.total)
  return { busyPercent, load: loadavg()[0] ?? NaN }
}

/** What all processors together have worked up to now, in milliseconds; the system counts in steps of 10. */
export const workedMs = (): number => times(cpus()).busy

function times(list: CpuInfo[]): { busy: number; total: number } {
  const total = sum(list.flatMap((cpu) => Object.values(cpu.times)))
  return { busy: total - sum(list.map((cpu) => cpu.times.idle)), total }
}

const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0)

/** The disk's answer to one page after another, each synced: the floor under every durable commit. */
function syncsPerSecond(directory: string): number {
  const file = path.join(directory, 'sync-test')
  const descriptor = openSync(file, 'w')
  const page = Buffer.alloc(8192)
  let count = 0
  const start = performance.now()
  for (; performance.now() - start < 1000; count++) {
    writeSync(descriptor, page, 0, page.length, 0)
    fdatasyncSync(descriptor)
  }
  closeSync(descriptor)
  rmSync(file)
  return count
}
