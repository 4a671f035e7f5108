/**
 * What a newcomer waits for, and what the idle server costs: clones this checkout into a temporary folder, runs the two
 * commands of the README, posts the first event, and waits until it is delivered. Then the memory of all its processes,
 * after a minute without work. Usage: node bench/first-start.ts
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const IDLE_SECONDS = 60
const PORT = '3917'
const url = `http://127.0.0.1:${PORT}`

const directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-first-'))
const checkout = path.join(directory, 'eventcenter')
const marks: [string, number][] = []
let from = performance.now()
const mark = (name: string): void => {
  marks.push([name, (performance.now() - from) / 1000])
  from = performance.now()
}

let server: ChildProcess | undefined
try {
  await run('chmod', ['0755', directory])
  await run('git', ['clone', '--quiet', path.join(import.meta.dirname, '..'), checkout])
  mark('git clone')
  await run('npm', ['ci'], { cwd: checkout })
  mark('npm ci')

  server = spawn('npm', ['start'], {
    cwd: checkout,
    env: { ...process.env, PORT, LOG_LEVEL: 'warn' },
    stdio: 'ignore',
  })
  await eventually(async () => (await fetch(`${url}/ready`)).ok)
  mark('npm start until ready (first start)')

  const key = (await readFile(path.join(checkout, 'data/api-key'), 'utf8')).trim()
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const event = { user_id: 'demo', type: 'job.done', title: 'Hello', body: 'First event', channels: ['ws', 'email'] }
  const answer = await fetch(`${url}/api/v1/events`, { method: 'POST', headers, body: JSON.stringify(event) })
  const { status_url: statusUrl } = (await answer.json()) as { status_url: string }
  await eventually(async () => {
    const status = (await (await fetch(statusUrl, { headers })).json()) as { deliveries: { status: string }[] }
    return status.deliveries.every((delivery) => delivery.status === 'SENT')
  })
  mark('first event until all its deliveries are SENT')

  await sleep(IDLE_SECONDS * 1000)
  const memory = await memoryOf(server.pid ?? 0)
  for (const [name, seconds] of marks) console.log(`${seconds.toFixed(2).padStart(8)} s  ${name}`)
  console.log(
    `${marks
      .reduce((sum, [, seconds]) => sum + seconds, 0)
      .toFixed(2)
      .padStart(8)} s  from clone to first delivered event`,
  )
  for (const { command, mebibytes } of memory) console.log(`${mebibytes.toFixed(1).padStart(8)} MiB  ${command}`)
  const total = memory.filter(({ isServer }) => isServer).reduce((sum, { mebibytes }) => sum + mebibytes, 0)
  console.log(
    `${total.toFixed(1).padStart(8)} MiB  whole server, idle (PSS of the Node process and PostgreSQL, without npm)`,
  )
} finally {
  if (server?.kill('SIGTERM')) await once(server, 'exit')
  await rm(directory, { recursive: true, force: true })
}

async function eventually(ask: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 60_000
  while (!(await ask().catch(() => false))) {
    if (performance.now() > giveUpAt) throw new Error('waited in vain')
    await sleep(10)
  }
}

/** Proportional set size of the process, its descendants, and the PostgreSQL it started in a session of its own. */
async function memoryOf(pid: number) {
  const processes = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(processOf))
  const postmaster = Number(
    (await readFile(path.join(checkout, 'data/postgres/postmaster.pid'), 'utf8')).split('\n')[0],
  )
  const family = new Set([pid, postmaster])
  for (let size = 0; size !== family.size;) {
    size = family.size
    for (const one of processes) if (one && family.has(one.parent)) family.add(one.pid)
  }
  return processes
    .filter((one) => one !== null)
    .filter((one) => family.has(one.pid))
    .map(({ command, mebibytes }) => ({ command, mebibytes, isServer: !/^npm |^sh /.test(command) }))
    .toSorted((a, b) => b.mebibytes - a.mebibytes)
}

async function processOf(name: string) {
  try {
    const [stat, rollup, command] = await Promise.all([
      readFile(`/proc/${name}/stat`, 'utf8'),
      readFile(`/proc/${name}/smaps_rollup`, 'utf8'),
      readFile(`/proc/${name}/cmdline`, 'utf8'),
    ])
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    const kibibytes = Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1])
    return {
      pid: Number(name),
      parent,
      mebibytes: kibibytes / 1024,
      command: command.replaceAll('\0', ' ').trim().slice(0, 70),
    }
  } catch {
    return null // it ended meanwhile
  }
}
