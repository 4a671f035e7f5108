/**
 * Measures how exactly three processes keep together to what a provider may be given, and what that costs a message to
 * one person: `node bench/throttle.ts [messages per second] [seconds]`. See docs/benchmarks.md.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startEmbedded } from '../src/db/embedded.ts'
import { migrate } from '../src/db/migrate.ts'
import { percentile } from './statistics.ts'
import { runThrottledWorker, type Sent, type ThrottleTask } from './throttled-worker.ts'

const PROCESSES = 3
/** The first second has its start in it, and the processes find each other. */
const WARM_UP_SECONDS = 1

type Run = { name: string; reservePercent: number; hasList: boolean; personalPerSecond: number }

const task = process.argv[2]
if (task?.startsWith('{')) await runThrottledWorker(JSON.parse(task) as ThrottleTask)
else await measure(Number(task ?? 30), Number(process.argv[3] ?? 15))

async function measure(perSecond: number, seconds: number): Promise<void> {
  const personal = perSecond / 10
  const runs: Run[] = [
    { name: 'a list alone, no reserve', reservePercent: 0, hasList: true, personalPerSecond: 0 },
    { name: 'messages to one person, idle', reservePercent: 20, hasList: false, personalPerSecond: personal },
    { name: 'a list and messages to one person', reservePercent: 20, hasList: true, personalPerSecond: personal },
  ]
  for (const run of runs) {
    const directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-throttle-'))
    await chmod(directory, 0o711) // PostgreSQL does not run as root
    const database = await startEmbedded(path.join(directory, 'data'))
    try {
      await migrate(database.url)
      show(run, seconds, await sentBy(run, { url: database.url, perSecond, seconds }))
    } finally {
      await database.stop()
      await rm(directory, { recursive: true })
    }
  }
}

async function sentBy(run: Run, options: Pick<ThrottleTask, 'url' | 'perSecond' | 'seconds'>): Promise<Sent[]> {
  const sent: Sent[] = []
  const workers: ChildProcess[] = []
  for (let number = 0; number < PROCESSES; number++) {
    const worker = fork(import.meta.filename, [JSON.stringify({ ...options, ...run, number })])
    worker.on('message', (message) => void sent.push(message as Sent))
    workers.push(worker)
    // Events and their type are made by the first.
    if (number === 0) await sleep(1000)
  }
  await Promise.all(workers.map((worker) => once(worker, 'exit')))
  return sent.toSorted((a, b) => a.at - b.at)
}

function show({ name, hasList, personalPerSecond }: Run, seconds: number, sent: readonly Sent[]): void {
  const begin = (sent[0]?.at ?? 0) + WARM_UP_SECONDS * 1000
  const counted = sent.filter(({ at }) => at >= begin && at < begin + (seconds - WARM_UP_SECONDS) * 1000)
  const lists = counted.filter(({ waitedMs }) => waitedMs === null)
  const waits = counted.flatMap(({ waitedMs }) => waitedMs ?? [])
  console.log(`\n${name}`)
  const rate = counted.length / (seconds - WARM_UP_SECONDS)
  const [all, afterwards] = [most(sent.map(({ at }) => at)), most(counted.map(({ at }) => at))]
  console.log(`  sent ${rate.toFixed(2)}/s, in the fullest second ${all}, of those after the first ${afterwards}`)
  if (hasList) console.log(`  of the list in the fullest second ${most(lists.map(({ at }) => at))}`)
  if (personalPerSecond === 0) return
  const [p50, p99] = [percentile(waits, 50), percentile(waits, 99)].map((ms) => ms.toFixed(2))
  console.log(`  accepted to sent, for one person: p50 ${p50} ms, p99 ${p99} ms of ${waits.length}`)
}

function most(times: readonly number[]): number {
  let first = 0
  let most = 0
  for (const [last, time] of times.entries()) {
    while (time - (times[first] ?? time) >= 1000) first += 1
    most = Math.max(most, last - first + 1)
  }
  return most
}
